"""The tree that cookiecutter writes: this repository under the user's names."""

import hashlib
import json
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from pipeline.settings import load_settings

from .conftest import RENDERED, TEMPLATE_FOLDER, Bake, Run, project_paths, tree

DEFAULTS = {
    "project_name": "Loan default",
    "author": "Your name",
    "description": (
        "Will a small-business loan be charged off? Trained, registered, served and load-tested on every push."
    ),
    "license": "MIT",
    "p95_ms": "100",
    "python_version": "3.13",
    "task": "classification",
}
COMBINATIONS = [
    pytest.param({}, id="defaults"),
    pytest.param({"task": "regression", "python_version": "3.11", "license": "Apache-2.0"}, id="regression"),
    pytest.param({"python_version": "3.12", "license": "BSD-3-Clause", "p95_ms": "12.5"}, id="tight-limit"),
    pytest.param({"python_version": "3.14", "license": "Proprietary", "p95_ms": " 1e3 "}, id="proprietary"),
    pytest.param(
        {"project_name": "Loans \"A\" 'B' \\n", "author": 'O\'Neil \\ "Sons"', "description": '"""'}, id="quotes"
    ),
    pytest.param(
        {"project_name": "Прогноз кредитів 🏦", "author": "José Ñandú 李", "description": "Кредит: так чи ні? 👩‍💻"},
        id="unicode",
    ),
    pytest.param({"project_name": "A project about the loans of a bank and what becomes of them"}, id="sixty"),
    pytest.param(
        {"project_name": "<b>Loans</b> & *risk* [1]", "author": "A <a@example.org>", "description": "# <!-- `x` | _y_"},
        id="markup",
    ),
]
FIRST_LINES = {
    "MIT": "MIT License",
    "BSD-3-Clause": "BSD 3-Clause License",
    "Proprietary": "Copyright (c) 2026 Your name. All rights reserved.",
}
# The text as apache.org publishes it.
APACHE_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_default_answers_give_this_repository(repository: Path, default: Path) -> None:
    """Byte for byte, less the template's own files; the README alone is another one."""
    expected = {path: content for path, content in tree(repository).items() if path in project_paths(repository)}
    generated = tree(default)
    expected["README.md"] = generated["README.md"]
    assert generated == expected
    assert generated["README.md"] != tree(repository)["README.md"]


def test_template_only_names_what_is_there(repository: Path) -> None:
    """An entry of `_template_only` that names nothing is a file that was renamed and now slips into projects."""
    own = json.loads((repository / "cookiecutter.json").read_text(encoding="utf-8"))["_template_only"]
    assert [path for path in own if not (repository / path).exists()] == []


def test_the_template_folder_holds_what_differs_by_answer(repository: Path) -> None:
    """The five rendered files and nothing else, so that Jinja stays out of code."""
    assert set(tree(repository / TEMPLATE_FOLDER)) == RENDERED


def test_everything_but_the_rendered_files_is_copied_as_it_lies(repository: Path) -> None:
    """A new kind of file in the root needs its place in `_copy_without_render`, before it holds two braces."""
    patterns = json.loads((repository / "cookiecutter.json").read_text(encoding="utf-8"))["_copy_without_render"]
    paths = project_paths(repository)
    assert {path for path in paths if not any(fnmatch(path, pattern) for pattern in patterns)} == RENDERED


def test_no_project_file_is_a_link_or_has_to_be_executable(repository: Path, run: Run) -> None:
    """A zip keeps neither, and cookiecutter follows links: the project would depend on where it came from."""
    listed = run("git", "ls-files", "--stage", cwd=repository).stdout.splitlines()
    modes = {path: entry.split()[0] for entry, path in (line.split("\t") for line in listed)}
    odd = {path: modes[path] for path in project_paths(repository) if modes.get(path, "100644") != "100644"}
    assert odd == {}


@pytest.fixture(name="answers", params=COMBINATIONS, scope="module")
def _answers(request: pytest.FixtureRequest) -> dict[str, str]:
    answers: dict[str, str] = request.param
    return answers


@pytest.fixture(name="project", scope="module")
def _project(bake: Bake, answers: dict[str, str]) -> Path:
    return bake(**answers).project


def test_every_project_has_the_same_files(repository: Path, project: Path) -> None:
    """No answer adds or removes a file, and none but the rendered ones knows of an answer."""
    generated, source = tree(project), tree(repository)
    assert set(generated) == project_paths(repository)
    assert [path for path in generated if path not in RENDERED and generated[path] != source[path]] == []


def test_no_jinja_is_left(project: Path) -> None:
    """A rendered file shows no trace of the template language."""
    text = "".join((project / path).read_text(encoding="utf-8") for path in sorted(RENDERED))
    assert "{{" not in text
    assert "{%" not in text


def test_settings_carry_the_answers(project: Path, answers: dict[str, str]) -> None:
    """pipeline.toml loads as the stages load it, and holds each answer as it was typed."""
    settings = load_settings(project)
    expected = DEFAULTS | answers
    assert settings.project.name == project.name
    assert settings.perf.p95_ms == float(expected["p95_ms"])
    assert settings.data.task == expected["task"]
    if answers.get("task") != "regression":
        assert settings.project.description == expected["description"]


def test_package_metadata_carries_the_answers(project: Path, answers: dict[str, str]) -> None:
    """pyproject.toml is valid TOML whatever was typed."""
    package = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    expected = DEFAULTS | answers
    assert package["name"] == project.name
    assert package["authors"] == [{"name": expected["author"]}]
    assert package["license"].removeprefix("LicenseRef-") == expected["license"]
    assert package["description"] == load_settings(project).project.description


def test_python_version_is_the_answer(project: Path, answers: dict[str, str]) -> None:
    """The image and the workflows read .python-version."""
    assert (project / ".python-version").read_text() == f"{(DEFAULTS | answers)['python_version']}\n"


def test_licence_is_the_real_text(project: Path, answers: dict[str, str]) -> None:
    """The full text of the licence that was chosen, with the author in it where it has a place for one."""
    chosen = (DEFAULTS | answers)["license"]
    text = (project / "LICENSE").read_bytes()
    if chosen == "Apache-2.0":
        assert hashlib.sha256(text).hexdigest() == APACHE_SHA256
        return
    lines = text.decode().splitlines()
    assert lines[0] == FIRST_LINES[chosen]
    assert any(line.startswith("Copyright") and (DEFAULTS | answers)["author"] in line for line in lines)
    assert text.endswith(b".\n")


def test_readme_shows_the_answers_as_typed(project: Path, answers: dict[str, str]) -> None:
    """What looks like Markdown or HTML in an answer is text in the README, neither markup nor lost."""
    tokens = MarkdownIt().parse((project / "README.md").read_text(encoding="utf-8"))
    heading, paragraph = [token for token in tokens if token.type == "inline"][:2]
    shown = ["".join(part.content for part in token.children or []) for token in (heading, paragraph)]
    assert shown[0] == (DEFAULTS | answers)["project_name"]
    assert shown[1].startswith(load_settings(project).project.description)


def test_regression_is_a_task_of_its_own(repository: Path, bake: Bake) -> None:
    """The target is what is paid out; the amounts approved, which all but give it away, are no features."""
    data = load_settings(bake(task="regression").project).data
    classified = load_settings(repository).data
    assert data.target == "DisbursementGross"
    assert set(classified.numeric) - set(data.numeric) == {"GrAppv", "SBA_Appv"}
    assert data.text == classified.text
