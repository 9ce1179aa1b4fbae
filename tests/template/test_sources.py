"""Where the template comes from makes no difference, and where it lies stays as it was."""

import json
import os
from pathlib import Path

import pytest

from .conftest import TEMPLATE_FOLDER, Bake, Run, tree

NEEDS_HOOKS = "this template is laid out by its hooks; run a current cookiecutter without --accept-hooks no"


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Returns mode and content of every file, Git's own included."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.stat().st_mode, path.read_bytes()) for path in files}


def test_a_git_url_gives_the_same_tree(bake: Bake, repository: Path, default: Path) -> None:
    """cookiecutter clones the URL and lays out the clone."""
    assert tree(bake(template=f"git+{repository.as_uri()}").project) == tree(default)


def test_a_zip_gives_the_same_tree(bake: Bake, repository: Path, default: Path, run: Run, tmp_path: Path) -> None:
    """Without Git, as in the archive that GitHub offers, everything in it belongs to the template."""
    archive = tmp_path / "main.zip"
    prefix = "cookiecutter-mlops-gate-main/"
    run("git", "archive", f"--prefix={prefix}", f"--output={archive}", "HEAD", cwd=repository)
    assert tree(bake(template=archive).project) == tree(default)


def test_a_folder_without_git_leaves_out_what_the_project_ignores(
    bake: Bake, checkout: Path, default: Path, tmp_path: Path
) -> None:
    """A zip of somebody's working folder brings no virtual environment and no trained model along."""
    (checkout / ".git").rename(tmp_path / "git")
    for path in (".venv/lib/package.py", "src/model/__pycache__/data.cpython-313.pyc", "bundle/card.json", "mlflow.db"):
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).write_text("left behind by a run")
    assert tree(bake(template=checkout).project) == tree(default)


def test_paths_may_hold_spaces(bake: Bake, repository: Path, default: Path, run: Run, tmp_path: Path) -> None:
    """Both the template's path and the project's."""
    template, output = tmp_path / "my templates" / "the gate", tmp_path / "my projects"
    output.mkdir()
    run("git", "clone", "--quiet", repository, template, cwd=tmp_path)
    assert tree(bake(template=template, output=output).project) == tree(default)


def test_a_git_worktree_is_a_checkout_too(bake: Bake, checkout: Path, default: Path, run: Run) -> None:
    """There .git is a file that points elsewhere."""
    worktree = checkout.with_name("worktree")
    run("git", "worktree", "add", "--quiet", worktree, cwd=checkout)
    assert tree(bake(template=worktree).project) == tree(default)


def test_a_git_hook_may_call_cookiecutter(bake: Bake, default: Path, checkout: Path) -> None:
    """Git sets GIT_DIR and its like for hooks; they speak of another repository."""
    elsewhere = {"GIT_DIR": str(checkout / ".git"), "GIT_INDEX_FILE": str(checkout / "no-such-index")}
    assert tree(bake(variables=elsewhere).project) == tree(default)


def test_a_checkout_that_git_cannot_read_is_refused(bake: Bake, checkout: Path, tmp_path: Path) -> None:
    """Guessing which files belong to the template could publish somebody's notes; so a sentence instead."""
    (checkout / ".git").rename(tmp_path / "git")
    (checkout / ".git").write_text("gitdir: ../.git/modules/gone\n")
    baked = bake(template=checkout)
    assert baked.status == 1
    assert "generate from its Git URL instead" in baked.printed
    assert list(baked.output.iterdir()) == []


def test_a_working_checkout_gives_its_tracked_files_as_they_are(bake: Bake, checkout: Path, default: Path) -> None:
    """Uncommitted changes to tracked files count, and a file that is gone is gone; nothing untracked comes along."""
    (checkout / "Makefile").write_bytes(b"# changed\n")
    (checkout / "data/README.md").unlink()
    for path in (
        "notes.txt",
        "src/model/draft.py",
        f"{TEMPLATE_FOLDER}/draft.md",
        ".venv/lib/package.py",
        "bundle/card.json",
    ):
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).write_text("not for others")
    expected = tree(default) | {"Makefile": b"# changed\n"}
    del expected["data/README.md"]
    assert tree(bake(template=checkout).project) == expected


def test_baking_leaves_the_checkout_as_it_was(bake: Bake, checkout: Path) -> None:
    """Every file, mode and byte, Git's index included."""
    (checkout / "notes.txt").write_text("untracked")
    (checkout / "Makefile").write_text("# changed\n")
    before = snapshot(checkout)
    assert bake(template=checkout).project.is_dir()
    assert snapshot(checkout) == before


def test_the_project_is_no_git_repository(default: Path) -> None:
    """Whoever generates a project decides about its history."""
    assert not (default / ".git").exists()


def test_generating_twice_gives_the_same_bytes(bake: Bake, default: Path) -> None:
    """No date, no random number, no path of the machine."""
    assert tree(bake().project) == tree(default)


def test_without_hooks_there_is_a_sentence_and_no_project(bake: Bake) -> None:
    """Five files that look like a project would be worse than none."""
    baked = bake("--accept-hooks", "no")
    assert baked.status == 1
    assert NEEDS_HOOKS in baked.printed
    assert list(baked.output.iterdir()) == []


def test_a_template_that_was_not_laid_out_is_refused(bake: Bake, checkout: Path) -> None:
    """Whatever ran the questions without laying out the tree, five files are not left behind as a project."""
    (checkout / "hooks/pre_prompt.py").unlink()
    settings = json.loads((checkout / "cookiecutter.json").read_text(encoding="utf-8"))
    del settings["_extensions"]
    (checkout / "cookiecutter.json").write_text(json.dumps(settings))
    baked = bake(template=checkout)
    assert baked.status == 1
    assert "The project is not whole" in baked.printed
    assert list(baked.output.iterdir()) == []


def test_the_copy_that_cookiecutter_leaves_behind_is_small(bake: Bake, checkout: Path, tmp_path: Path) -> None:
    """cookiecutter keeps its copy when an answer is rejected, so the hook empties it of all but the template."""
    (checkout / ".venv").mkdir()
    (checkout / ".venv/library.so").write_bytes(bytes(5_000_000))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    assert bake(template=checkout, variables={"TMPDIR": str(temporary)}, project_slug="Bad Slug").status == 1
    (copy,) = temporary.glob("cookiecutter*/*")
    assert {path.name for path in copy.iterdir()} == {"cookiecutter.json", "hooks", "{{cookiecutter.__folder}}"}


@pytest.mark.skipif(os.name == "nt", reason="the Makefile is for POSIX")
def test_make_bake_generates_from_the_checkout(checkout: Path, default: Path, run: Run, make: list[str]) -> None:
    """The short way to look at what a change does to projects, a second time as well."""
    for _ in range(2):
        run(*make, "bake", cwd=checkout)
    assert tree(checkout / ".cache/bake/loan-default") == tree(default)
    run(*make, "bake", "OUT=elsewhere", "ANSWERS=project_slug=other", cwd=checkout)
    assert (checkout / "elsewhere/other/Makefile").is_file()
