"""cruft runs no pre_prompt hook; it works on the branch that `make template-branch` writes."""

import json
import sys
from pathlib import Path

import pytest

from .conftest import TEMPLATE_FOLDER, Run, commit_all, tree

CRUFT = (sys.executable, "-m", "cruft")
LATER = "\nlater: ## a target of a later release\n\t@echo later\n"


@pytest.fixture(name="published")
def _published(checkout: Path, run: Run, make: list[str]) -> Path:
    """A checkout of the template with the branch for cruft."""
    run(*make, "template-branch", cwd=checkout)
    return checkout


def create(template: Path, output: Path, run: Run, *options: str, status: int = 0) -> str:
    """Returns what `cruft create` printed."""
    output.mkdir()
    return run(*CRUFT, "create", template, "--no-input", *options, cwd=output, status=status).stdout


def test_the_branch_gives_the_same_project(published: Path, default: Path, run: Run, tmp_path: Path) -> None:
    """As cookiecutter on main does, plus cruft's own note."""
    create(published, tmp_path / "out", run, "--checkout", "template")
    project = tree(tmp_path / "out/loan-default")
    assert json.loads(project.pop(".cruft.json"))["checkout"] == "template"
    assert project == tree(default)


def test_an_update_brings_changes_and_keeps_yours(published: Path, run: Run, make: list[str], tmp_path: Path) -> None:
    """A later release changes a copied and a rendered file; the user's own edits and answers stay."""
    create(
        published, tmp_path / "out", run, "--checkout", "template", "--extra-context", '{"project_slug": "my-loans"}'
    )
    project = tmp_path / "out/my-loans"
    settings = (project / "pipeline.toml").read_text().replace("seed = 7", "seed = 11")
    (project / "pipeline.toml").write_text(settings)
    commit_all(project, run)

    (published / "Makefile").write_text((published / "Makefile").read_text() + LATER)
    rendered = published / TEMPLATE_FOLDER / "pipeline.toml"
    rendered.write_text(rendered.read_text() + "\n# a line of a later release\n")
    commit_all(published, run)
    run(*make, "template-branch", cwd=published)
    run(*CRUFT, "update", "--checkout", "template", "--skip-apply-ask", cwd=project)

    assert (project / "Makefile").read_text().endswith(LATER)
    assert (project / "pipeline.toml").read_text() == settings + "\n# a line of a later release\n"
    assert 'name = "my-loans"' in settings
    assert list(project.rglob("*.rej")) == []


def test_cruft_on_main_is_refused(repository: Path, run: Run, tmp_path: Path) -> None:
    """It would get five files; it gets a sentence that says what to do, and nothing is written."""
    printed = " ".join(create(repository, tmp_path / "out", run, status=1).split())
    assert "cruft with --checkout template" in printed
    assert list((tmp_path / "out").iterdir()) == []


def test_writing_the_branch_touches_nothing_else(checkout: Path, run: Run, make: list[str]) -> None:
    """Neither the work tree, nor the index, nor the branch that is checked out."""
    (checkout / "notes.txt").write_text("untracked")
    (checkout / "Makefile").write_text((checkout / "Makefile").read_text() + LATER)
    run("git", "add", "Makefile", cwd=checkout)
    seen = [("git", "status", "--porcelain"), ("git", "diff", "--cached"), ("git", "rev-parse", "main", "HEAD")]
    before = [run(*command, cwd=checkout).stdout for command in seen]
    run(*make, "template-branch", cwd=checkout)
    assert [run(*command, cwd=checkout).stdout for command in seen] == before
    assert LATER not in run("git", "show", "template:{{cookiecutter.__folder}}/Makefile", cwd=checkout).stdout


def test_writing_the_branch_again_adds_no_commit(published: Path, run: Run, make: list[str]) -> None:
    """Where nothing changed; where something did, the new commit follows the old one, so that cruft finds its way."""
    first = run("git", "rev-parse", "template", cwd=published).stdout
    run(*make, "template-branch", cwd=published)
    assert run("git", "rev-parse", "template", cwd=published).stdout == first
    (published / "Makefile").write_text((published / "Makefile").read_text() + LATER)
    commit_all(published, run)
    run(*make, "template-branch", cwd=published)
    assert run("git", "rev-parse", "template^", cwd=published).stdout == first


def test_a_fresh_clone_continues_the_published_branch(
    published: Path, run: Run, make: list[str], tmp_path: Path
) -> None:
    """CI starts from a clone that has the branch on its remote only."""
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", published, clone, cwd=tmp_path)
    (clone / "Makefile").write_text((clone / "Makefile").read_text() + LATER)
    commit_all(clone, run)
    run(*make, "template-branch", cwd=clone)
    parent = run("git", "rev-parse", "template^", "origin/template", cwd=clone).stdout.split()
    assert parent[0] == parent[1]
