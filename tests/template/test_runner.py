"""A generated project as a runner of GitHub tests it: by a user who is not root, with the variables of the workflow.

What only a developer's machine has would go unseen otherwise: root, a base image, a branch that is called main. With
the default answers the files are those of this repository, byte for byte, so it is a project of the other task here.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.engine.conftest import engine  # noqa: F401  a fixture

from .conftest import Bake
from .github.parser import Parser
from .test_github import _github, event, pipeline  # noqa: F401  a fixture

USER = "runner"  # as GitHub calls it
ANSWERS = {"project_name": "O'Neil's \"Loans\" 🏦", "project_slug": "my-loans", "author": "José <j@example.org>"}


@pytest.fixture(name="user")
def _user(engine: None) -> pwd.struct_passwd:  # noqa: F811
    """Who runs it: somebody in the group docker, made here where this is root."""
    if os.getuid():
        return pwd.getpwuid(os.getuid())
    if subprocess.run(["id", USER], check=False, capture_output=True).returncode:
        subprocess.run(["useradd", "--create-home", "--groups", "docker", USER], check=True)
    return pwd.getpwnam(USER)


def test_lint_and_tests_are_green(
    bake: Bake, environment: dict[str, str], github: Parser, user: pwd.struct_passwd, tmp_path: Path
) -> None:
    """`make lint` and `make test`, from nothing but the locks; they leave no trace in the run's summary or in Git."""
    home = Path(user.pw_dir, "mlops-gate-test") if os.getuid() == 0 else tmp_path
    shutil.rmtree(home, ignore_errors=True)
    (home / "tmp").mkdir(parents=True)
    project = Path(shutil.copytree(bake(task="regression", **ANSWERS).project, home / "my-loans"))
    (home / "gitconfig").write_text("[user]\nname = A\nemail = a@example.org\n[init]\ndefaultBranch = master\n")
    left = {name: home / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for path in left.values():
        path.touch()
    if os.getuid() == 0:
        subprocess.run(["chown", "--recursive", f"{USER}:", home], check=True)
    context = event("push")
    given = environment | pipeline(github, context).env | {name: str(path) for name, path in left.items()}
    given |= {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": context["repository"], "HOME": str(home)}
    given |= {"TMPDIR": str(home / "tmp"), "GIT_CONFIG_GLOBAL": str(home / "gitconfig"), "USER": user.pw_name}
    by = ["runuser", "-u", USER, "--"] if os.getuid() == 0 else []
    script = (
        "git init --quiet && git add . && git commit --quiet -m 'A project' && make lint && make test && git status -s"
    )
    done = subprocess.run(
        [*by, "sh", "-ec", script],
        cwd=project,
        env=given,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    said = {name: path.read_text() for name, path in left.items()}
    shutil.rmtree(home, ignore_errors=True)
    assert done.returncode == 0, done.stdout
    assert said == dict.fromkeys(left, "")
    assert " passed in " in done.stdout.splitlines()[-1], done.stdout  # and nothing of `git status`
    assert "skipped" not in done.stdout.splitlines()[-1]
