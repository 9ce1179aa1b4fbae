"""The hooks' functions, called directly."""

import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest

from hooks import post_gen_project, pre_prompt

from .conftest import ROOT, Bake, Run, tree

AUTHOR = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
FOLDER = pre_prompt.LAID_OUT_FOLDER


def test_plan_lets_the_template_folder_win() -> None:
    """README.md of the root is the template's own; the one of the template folder becomes the project's."""
    files = ["README.md", "Makefile", f"{pre_prompt.TEMPLATE_FOLDER}/README.md"]
    planned = pre_prompt.plan(files, [])
    assert planned[f"{FOLDER}/README.md"] == f"{pre_prompt.TEMPLATE_FOLDER}/README.md"
    assert planned[f"{FOLDER}/Makefile"] == "Makefile"


def test_plan_leaves_out_what_is_the_templates_own() -> None:
    """A name stands for a file or for a folder with all that is in it, and for no other name that begins like it."""
    files = ["tests/template/conftest.py", "tests/template.py", "hooks/pre_prompt.py", "hooks.md", "template.mk"]
    planned = pre_prompt.plan(files, ["tests/template", "hooks", "template.mk"])
    assert [path for path in planned.values() if not path.startswith("hooks/")] == ["hooks.md", "tests/template.py"]


def test_plan_keeps_the_later_hooks_beside_the_project() -> None:
    """The hook that laid the project out has done its work; on the branch for cruft it would lay out a second time."""
    planned = pre_prompt.plan([], [])
    assert planned == {path: path for path in ("hooks/pre_gen_project.py", "hooks/post_gen_project.py")}


def test_the_laid_out_settings_keep_every_question(repository: Path) -> None:
    """Only what stops an unlaid template, and the list that it was laid out by, are gone."""
    settings = json.loads((repository / "cookiecutter.json").read_text(encoding="utf-8"))
    laid_out = pre_prompt.laid_out_settings(settings)
    assert set(settings) - set(laid_out) == {"_extensions", "_template_only"}
    assert list(laid_out) == [key for key in settings if key in laid_out]


def test_lay_out_leaves_the_repository_as_it_is(checkout: Path, tmp_path: Path) -> None:
    """make bake and make template-branch lay out from a checkout that somebody works in."""
    before = tree(checkout)
    pre_prompt.lay_out(checkout, tmp_path / "target")
    assert tree(checkout) == before
    assert (tmp_path / "target" / FOLDER / "Makefile").read_bytes() == before["Makefile"]


def test_the_hook_refuses_a_folder_that_is_no_copy(checkout: Path, run: Run) -> None:
    """Called by hand in a checkout it would replace the checkout, .git and all."""
    before = tree(checkout)
    printed = run(sys.executable, "hooks/pre_prompt.py", cwd=checkout, status=1).stdout
    assert "make bake" in printed
    assert tree(checkout) == before


def test_a_copy_with_read_only_files_is_replaced(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git's objects are such files, and Windows deletes none before that is changed; so does this stand-in for it."""
    copy = tmp_path / "tmp" / "cookiecutter-x" / "copy"
    copy.parent.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    checkout.rename(copy)
    unlink = os.unlink

    def as_on_windows(path: str, *, dir_fd: int | None = None) -> None:
        if not os.stat(path, dir_fd=dir_fd).st_mode & stat.S_IWRITE:
            raise PermissionError(path)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", as_on_windows)
    pre_prompt.replace_by_layout(copy)
    assert {path.name for path in copy.iterdir()} == {"cookiecutter.json", "hooks", FOLDER}


def test_nothing_tracked_is_an_error(tmp_path: Path, run: Run) -> None:
    """A repository before its first git add would give an empty project."""
    run("git", "init", "--quiet", cwd=tmp_path)
    with pytest.raises(pre_prompt.LayoutError, match="git add"):
        pre_prompt.files_of(tmp_path)


def test_without_git_installed_a_checkout_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only Git knows which files belong to the template."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pre_prompt.LayoutError, match="install git"):
        pre_prompt.files_of(checkout)


def test_landmarks_are_files_of_the_project(repository: Path) -> None:
    """A landmark that was renamed would make every generation fail."""
    assert post_gen_project.missing(repository) == []


def test_an_incomplete_project_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names what is missing and what to do."""
    (tmp_path / "Makefile").touch()
    monkeypatch.chdir(tmp_path)
    assert post_gen_project.main() == 1
    printed = capsys.readouterr().err
    assert "serving/app.py" in printed
    assert "--checkout template" in printed
    assert "Makefile," not in printed


def test_the_next_steps_end_in_a_push_that_starts_the_workflow(bake: Bake, run: Run, tmp_path: Path) -> None:
    """With the names of this project, once; the branch is one that the workflow listens to, whatever Git's default."""
    baked = bake(variables={"QUIET": ""}, project_name="Acme's loans", github_owner="Acme-Inc")
    steps = [line.partition("#")[0].strip() for line in baked.printed.splitlines() if line.startswith("  ")]
    assert steps[0] == "cd acme-s-loans" == f"cd {baked.project.name}"
    assert steps[-1] == "gh repo create Acme-Inc/acme-s-loans --private --source . --push"
    assert baked.printed.count("gh repo create") == 1
    (commit,) = [step for step in steps if step.startswith("git init")]
    run("git", "config", "--file", "master", "init.defaultBranch", "master", cwd=tmp_path)
    run("sh", "-ec", commit, cwd=baked.project, GIT_CONFIG_GLOBAL=str(tmp_path / "master"), **AUTHOR)
    branch = run("git", "branch", "--show-current", cwd=baked.project).stdout.strip()
    workflow = (baked.project / ".github" / "workflows" / "pipeline.yml").read_text()
    assert branch in re.findall(r"push: \{branches: \[(\w+),", workflow)
    assert run("git", "status", "--porcelain", cwd=baked.project).stdout == ""


def test_a_program_that_generates_hears_nothing(bake: Bake) -> None:
    """QUIET=1 is for tests and for cruft."""
    assert bake().printed == ""


@pytest.mark.parametrize(
    ("path", "pattern", "ignored"),
    [
        ("bundle/card.json", "bundle/", True),
        ("tests/engine/perf/bundle/card.json", "bundle/", True),
        ("bundle/card.json", "/bundle/", True),
        ("tests/engine/perf/bundle/card.json", "/bundle/", False),
        ("src/__pycache__/data.cpython-313.pyc", "*.py[cod]", True),
        ("mlflow.db-journal", "mlflow.db*", True),
        ("src/model/data.py", "*.py[cod]", False),
        ("bundles.md", "bundle/", False),
    ],
)
def test_a_zip_is_read_by_the_ignore_file(path: str, pattern: str, ignored: bool) -> None:
    """Without Git the hook reads .gitignore itself, as Git would."""
    assert pre_prompt.is_ignored(path, [pattern]) is ignored


def test_the_ignore_file_stays_within_what_the_hook_reads() -> None:
    """Git knows more kinds of patterns; one of them here would let files slip into projects generated from a zip."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("!") or "/" in line.strip("/") or "**" in line] == []


@pytest.mark.parametrize("hook", ["pre_prompt", "pre_gen_project", "post_gen_project"])
def test_hooks_need_nothing_but_python(hook: str) -> None:
    """They run in whatever environment cookiecutter lives in, offline."""
    lines = (ROOT / "hooks" / f"{hook}.py").read_text(encoding="utf-8").splitlines()
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported <= {
        "collections",
        "fnmatch",
        "json",
        "math",
        "os",
        "pathlib",
        "re",
        "shutil",
        "stat",
        "subprocess",
        "sys",
        "tempfile",
    }
