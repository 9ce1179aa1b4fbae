"""What the READMEs promise is there."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT, TEMPLATE_FOLDER, Run, project_paths, tree

CODE = ("serving", "training", "perf", "release", "src")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Returns the text under a heading of the second level."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ", maxsplit=1)[0]


@pytest.fixture(name="folder", params=["template", "project"])
def _folder(request: pytest.FixtureRequest, repository: Path, default: Path) -> Path:
    """The two places that have a README."""
    return repository if request.param == "template" else default


def test_every_question_is_explained(repository: Path) -> None:
    """With the default that cookiecutter offers, where that is not derived from another answer."""
    questions = json.loads(read(repository / "cookiecutter.json"))
    table = section(read(repository / "README.md"), "The questions")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))
    asked = [name for name in questions if not name.startswith("_")]
    assert list(rows) == asked
    assert list(questions["__prompts__"]) == asked
    for name in asked:
        default = questions[name][0] if isinstance(questions[name], list) else questions[name]
        assert rows[name] == default or default.startswith("{")


def test_every_command_exists(folder: Path, run: Run, make: list[str]) -> None:
    """A `make` command in a document is a target that `make` lists."""
    targets = set(re.findall(r"^  make (\S+)", run(*make, cwd=folder).stdout, re.MULTILINE))
    documents = "".join(read(path) for path in folder.glob("*.md"))
    named = set(re.findall(r"(?:`|= |\d )make ([a-z][a-z-]*)", documents))
    assert len(named) > 3
    assert named - targets == set()


def test_the_first_push_starts_the_pipeline(default: Path, tmp_path: Path, run: Run) -> None:
    """The README's `git init` makes the branch that the workflow listens to, whatever Git's own default is."""
    commands = set(re.findall(r"git init[^`&]*?(?= *(?:&&|`))", read(default / "README.md")))
    branches = yaml.safe_load(read(default / ".github/workflows/pipeline.yml"))[True]["push"]["branches"]  # True: `on`
    assert len(commands) == 1
    run("git", "-c", "init.defaultBranch=master", *commands.pop().split()[1:], cwd=tmp_path)
    assert [run("git", "symbolic-ref", "--short", "HEAD", cwd=tmp_path).stdout.strip()] == branches


def test_every_link_into_the_repository_leads_somewhere(folder: Path) -> None:
    """A file that was renamed takes its links along."""
    broken = [
        f"{document.name}: {target}"
        for document in folder.glob("*.md")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", read(document))
        if not (folder / target).exists()
    ]
    assert broken == []


def test_the_tree_in_the_readme_is_the_tree(repository: Path) -> None:
    """The first column names files and folders that exist."""
    drawn = re.findall(r"^[├└]── (\S+)", read(repository / "README.md"), re.MULTILINE)
    assert len(drawn) > 10
    assert [path for path in drawn if not (repository / path).exists()] == []


def test_every_part_of_the_settings_has_its_place_in_the_readme(default: Path) -> None:
    """A reader finds each section of pipeline.toml by what it is for, and no section that is not there."""
    settings = tomllib.loads(read(default / "pipeline.toml"))
    sections = {
        *settings,
        *(f"{name}.{key}" for name in settings for key in settings[name] if isinstance(settings[name][key], dict)),
    }
    assert (
        set(re.findall(r"`\[([a-z.]+)\]`", section(read(default / "README.md"), "Where to change things"))) == sections
    )


def test_the_gate_is_explained_by_keys_that_exist(default: Path) -> None:
    """A limit that was renamed in pipeline.toml has its new name in the README."""
    settings = tomllib.loads(read(default / "pipeline.toml"))
    named = set(re.findall(r"`([a-z0-9_]+)`", section(read(default / "README.md"), "How the gate decides")))
    assert len(named) > 5
    assert named <= {*settings["quality"], *settings["perf"]}


def test_every_variable_is_read_by_the_code(default: Path) -> None:
    """A variable in the README that nothing reads would be set in vain."""
    named = set(re.findall(r"`([A-Z][A-Z_]+)", section(read(default / "README.md"), "Environment"))) - {
        "MLOPS_",
        "MLOPS_PERF__P",
    }
    code = "".join(read(path) for folder in CODE for path in (default / folder).rglob("*.py"))
    assert {"HOST", "PORT", "MLOPS_FAULT_BURN_MS"} <= named
    assert {name for name in named if name not in code} == set()


def test_the_template_can_be_taken_out_of_a_copy(checkout: Path, repository: Path) -> None:
    """The command for those who used GitHub's "Use this template" leaves the project alone, less its README."""
    (command,) = re.findall(r"^git rm .*$", read(checkout / "README.md"), re.MULTILINE)
    subprocess.run(["sh", "-c", command], cwd=checkout, check=True)
    assert set(tree(checkout)) == project_paths(repository) - {"README.md"}


def test_rendered_files_are_described_as_such(repository: Path) -> None:
    """The sources of the rendered files are named where contributors look for them."""
    assert TEMPLATE_FOLDER in read(ROOT / "CONTRIBUTING.md")
    assert TEMPLATE_FOLDER in read(repository / "README.md")
