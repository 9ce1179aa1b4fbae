"""What the READMEs promise is there."""

import json
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
import yaml

from hooks import settings_reference
from perf.verdict import Criterion, Report
from pipeline.schema import Perf
from pipeline.settings import load_settings

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
    """A `make` command in a document is a target."""
    makefiles = "".join(read(path) for path in (folder / "Makefile", folder / "template.mk") if path.exists())
    targets = set(re.findall(r"^([a-z][a-z-]*(?: [a-z][a-z-]*)*):", makefiles, re.MULTILINE))
    documents = "".join(read(path) for path in (*folder.glob("*.md"), *folder.glob("docs/*.md")))
    named = set(re.findall(r"(?:`|= |\d )make ([a-z][a-z-]*)", documents))
    assert len(named) > 3
    assert named - targets == set()


def test_the_first_push_starts_the_pipeline(default: Path, tmp_path: Path, run: Run) -> None:
    """The README's `git init` makes the branch that the workflow listens to, whatever Git's own default is."""
    commands = set(re.findall(r"git init[^`&]*?(?= *(?:&&|`))", read(default / "README.md")))
    branches = yaml.safe_load(read(default / ".github/workflows/pipeline.yml"))[True]["push"]["branches"]  # True: `on`
    assert len(commands) == 1
    run("git", "-c", "init.defaultBranch=master", *commands.pop().split()[1:], cwd=tmp_path)
    assert [run("git", "symbolic-ref", "--short", "HEAD", cwd=tmp_path).stdout.strip()] == branches[:1]


def test_every_link_into_the_repository_leads_somewhere(folder: Path) -> None:
    """A file that was renamed takes its links along."""
    broken = [
        f"{document.name}: {target}"
        for document in (*folder.glob("*.md"), *folder.glob("docs/*.md"))
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", read(document))
        if not (document.parent / target).exists()
    ]
    assert broken == []


def test_the_tree_in_the_readme_is_the_tree(repository: Path) -> None:
    """The first column names files and folders that exist."""
    drawn = re.findall(r"^[├└]── (\S+)", read(repository / "README.md"), re.MULTILINE)
    assert len(drawn) > 10
    assert [path for path in drawn if not (repository / path).exists()] == []


def test_every_key_is_in_the_reference() -> None:
    """docs/settings.md is what the schema says, and pipeline.toml says no key that has the default already."""
    assert read(ROOT / "docs" / "settings.md") == settings_reference.document(), "`make settings-reference` writes it"


def test_the_gate_is_explained_by_keys_that_exist(default: Path) -> None:
    """A limit that was renamed in the schema has its new name in docs/gate.md."""
    perf = {each.name for each in msgspec.structs.fields(Perf)}
    named = set(
        re.findall(r"^\| `([a-z0-9_]+)` \|", section(read(default / "docs" / "gate.md"), "The limits"), re.MULTILINE)
    )
    assert len(named) > 5
    assert named <= perf


def test_every_variable_is_read_by_the_code(default: Path) -> None:
    """A variable in docs/operations.md that nothing reads would be set in vain."""
    table = section(read(default / "docs" / "operations.md"), "Environment")
    named = set(re.findall(r"^\| `([A-Z][A-Z_]+)|, `([A-Z][A-Z_]+)`", table, re.MULTILINE))
    names = {name for pair in named for name in pair if name} - {"MLOPS_PERF__P"}
    code = "".join(read(path) for folder in CODE for path in (default / folder).rglob("*.py"))
    assert {"HOST", "PORT", "MLOPS_FAULT_BURN_MS"} <= names
    assert {name for name in names if name not in code} == set()


def test_pipeline_toml_is_short(default: Path) -> None:
    """The keys that a user means to set, in a file that fits on a screen; each is one that the schema knows."""
    lines = read(default / "pipeline.toml").splitlines()
    keys = [line.partition(" =")[0] for line in lines if re.match(r"[a-z0-9_]+ =", line)]
    assert len(lines) < 40
    assert len(keys) <= 15
    load_settings(default, {})


def test_agents_are_told_what_is_so(default: Path, run: Run, make: list[str]) -> None:
    """AGENTS.md is short. Its files exist, its fields of a verdict too, and its commands are targets."""
    text = read(default / "AGENTS.md")
    assert len(text.splitlines()) <= 50
    for command in re.findall(r"^make [a-z]+", text, re.MULTILINE):
        run(*make, "--dry-run", *command.split()[1:], cwd=default)
    fields = {each.name for kind in (Report, Criterion) for each in msgspec.structs.fields(kind)}
    table = section(text, "Reading a verdict").partition("`reports/model.json`")[0]
    assert set(re.findall(r"`([a-z_]+)`", table)) <= {*fields}
    named = re.findall(r"`([a-z/.-]+(?:/|\.toml|\.py))`", text)
    made = {"bundle/", "reports/", ".mlops/", "mlartifacts/"}
    assert [path for path in named if path not in made and not (default / path).exists()] == []


def test_the_template_can_be_taken_out_of_a_copy(checkout: Path, repository: Path) -> None:
    """The command for those who used GitHub's "Use this template" leaves the project alone, less its README."""
    (command,) = re.findall(r"^git rm .*$", read(checkout / "README.md"), re.MULTILINE)
    subprocess.run(["sh", "-c", command], cwd=checkout, check=True)
    assert set(tree(checkout)) == project_paths(repository) - {"README.md"}


def test_rendered_files_are_described_as_such(repository: Path) -> None:
    """The sources of the rendered files are named where contributors look for them."""
    assert TEMPLATE_FOLDER in read(ROOT / "CONTRIBUTING.md")
    assert TEMPLATE_FOLDER in read(repository / "README.md")
