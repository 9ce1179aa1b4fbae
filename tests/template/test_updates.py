"""release.github.updates: real cruft and git; only GitHub's API is a server that notes what it is asked."""

import base64
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from release.github.updates import LISTED, Origin, changes_of, text_of
from tests.engine.release.github_server import TOKEN, GitHub, serving

from .conftest import Run, commit_all
from .test_cruft import LATER, create

pytestmark = pytest.mark.slow

# A hook of the later release, which says in the project whether it was handed the token.
CURIOUS = "\nimport os\n\nPath('seen.txt').write_text(str('GITHUB_TOKEN' in os.environ))\n"
Updating = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(name="generated", scope="module")
def _generated(repository: Path, run: Run, make: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that cruft generated, whose template has moved on since. Read only: copy it."""
    folder = tmp_path_factory.mktemp("generated")
    template = folder / "cookiecutter-mlops-gate"
    run("git", "clone", "--quiet", repository, template, cwd=folder)
    run(*make, "template-branch", cwd=template)
    create(template, folder / "out", run, "--checkout", "template")
    project = folder / "out" / "loan-default"
    commit_all(project, run)
    (template / "Makefile").write_text((template / "Makefile").read_text() + LATER)
    hook = template / "hooks" / "post_gen_project.py"
    hook.write_text(hook.read_text().replace("\n\n\ndef ", f"{CURIOUS}\n\ndef ", 1))
    commit_all(template, run)
    run(*make, "template-branch", cwd=template)
    return project


@pytest.fixture(name="project")
def _project(generated: Path, run: Run, tmp_path: Path) -> Path:
    """A checkout of the project, with an origin of its own."""
    project = Path(shutil.copytree(generated, tmp_path / "loan-default"))
    run("git", "init", "--quiet", "--bare", tmp_path / "origin", cwd=tmp_path)
    run("git", "remote", "add", "origin", tmp_path / "origin", cwd=project)
    run("git", "push", "--quiet", "origin", "main", cwd=project)
    return project


@pytest.fixture(name="github")
def _github() -> Iterator[GitHub]:
    with serving() as server:
        yield server


@pytest.fixture(name="update")
def _update(project: Path, github: GitHub, environment: dict[str, str], run: Run) -> Updating:
    """Runs the module on main."""

    def update(**more: str) -> "subprocess.CompletedProcess[str]":
        run("git", "checkout", "--quiet", "main", cwd=project)
        done = subprocess.run(
            [sys.executable, "-m", "release.github.updates", "template"],
            cwd=project,
            env=environment | {"PYTHONPATH": str(project / "src")} | github.environment | more,
            check=False,
            capture_output=True,
            text=True,
        )
        assert TOKEN not in done.stdout + done.stderr + (project / ".git" / "config").read_text()
        return done

    return update


def test_an_update_becomes_a_pull_request(
    project: Path, github: GitHub, update: Updating, run: Run, tmp_path: Path
) -> None:
    """On a branch of its own, with what the template changed; main is as it was, and no hook got the token."""
    before = run("git", "rev-parse", "main", cwd=project).stdout
    done = update()
    assert (done.returncode, done.stdout) == (0, "Opened #7; conflicts: 0.\n"), done.stderr
    origin = tmp_path / "origin"
    assert run("git", "show", "template-update:Makefile", cwd=origin).stdout.endswith(LATER)
    assert run("git", "show", "template-update:seen.txt", cwd=origin).stdout == "False"
    assert run("git", "rev-parse", "main", "template-update^", cwd=origin).stdout == before * 2
    ((method, path, sent),) = github.written
    assert (method, path, sent["head"], sent["base"]) == ("POST", "/repos/acme/loans/pulls", "template-update", "main")
    assert "Nothing conflicts" in sent["body"]


def test_conflicts_are_listed_and_an_open_pull_request_is_changed(
    project: Path, github: GitHub, update: Updating, run: Run, tmp_path: Path
) -> None:
    """The reader learns which of their files the update did not fit."""
    text = (project / "Makefile").read_text()
    (project / "Makefile").write_text("".join(text.splitlines(keepends=True)[:-8]) + "# mine\n")
    commit_all(project, run)
    github.pull(11, "")
    github.pull(12, "", branch="template-update")
    done = update()
    assert (done.returncode, done.stdout) == (0, "Brought #12 up to date; conflicts: 1.\n"), done.stderr
    ((method, path, sent),) = github.written
    assert (method, path) == ("PATCH", "/repos/acme/loans/pulls/12")
    assert sent["body"].endswith("\n- `Makefile`")
    assert "<<<<<<< ours" in run("git", "show", "template-update:Makefile", cwd=tmp_path / "origin").stdout


def test_what_git_cannot_merge_lies_beside_the_file(
    project: Path, github: GitHub, update: Updating, run: Run, tmp_path: Path
) -> None:
    """Without the file as it was generated, as in a project whose history begins later, there are no two sides."""
    text = (project / "Makefile").read_text()
    (project / "Makefile").write_text("".join(text.splitlines(keepends=True)[:-8]) + "# mine\n")
    shutil.rmtree(project / ".git")
    commit_all(project, run)
    run("git", "remote", "add", "origin", tmp_path / "origin", cwd=project)
    done = update()
    assert (done.returncode, done.stdout) == (0, "Opened #7; conflicts: 1.\n"), done.stderr
    assert github.written[0][2]["body"].endswith("\n- `Makefile.rej`")
    assert "echo later" in run("git", "show", "template-update:Makefile.rej", cwd=tmp_path / "origin").stdout


def test_the_same_update_is_the_same_commit(
    project: Path, github: GitHub, update: Updating, run: Run, tmp_path: Path
) -> None:
    """A week without changes starts no workflow; where main moved, the branch follows; once it is merged, nothing."""
    origin = tmp_path / "origin"
    update()
    github.pull(7, "", branch="template-update")
    first = run("git", "rev-parse", "template-update", cwd=origin).stdout
    assert update().stdout == "Brought #7 up to date; conflicts: 0.\n"
    assert run("git", "rev-parse", "template-update", cwd=origin).stdout == first
    run("git", "checkout", "--quiet", "main", cwd=project)
    run("git", "commit", "--quiet", "--allow-empty", "--message=On main", cwd=project)
    moved = run("git", "rev-parse", "main", cwd=project).stdout
    assert update().returncode == 0
    assert run("git", "rev-parse", "template-update^", cwd=origin).stdout == moved
    run("git", "checkout", "--quiet", "main", cwd=project)
    run("git", "merge", "--quiet", "template-update", cwd=project)
    github.requests.clear()
    assert update().stdout == "Nothing to do: the project is up to date with its template.\n"
    assert github.requests == []


def test_the_work_of_others_on_the_branch_is_kept(project: Path, update: Updating, run: Run, tmp_path: Path) -> None:
    """Somebody has resolved conflicts there; main moving on must not undo that."""
    update()
    run("git", "commit", "--quiet", "--allow-empty", "--message=By hand", cwd=project)
    run("git", "push", "--quiet", "origin", "template-update", cwd=project)
    by_hand = run("git", "rev-parse", "HEAD", cwd=project).stdout
    done = update()
    assert done.stdout == (
        "Nothing was done: the branch template-update has commits of others. Merge or delete it first.\n"
    )
    assert run("git", "rev-parse", "template-update", cwd=tmp_path / "origin").stdout == by_hand


def test_what_is_missing_is_said_in_one_line(project: Path, update: Updating, run: Run) -> None:
    """The token, what a workflow sets, cruft's note of where the project comes from, or the template itself."""
    note = json.loads((project / ".cruft.json").read_text())
    for content, variables, sentence in (
        (note, {"GITHUB_TOKEN": ""}, "the secret TEMPLATE_TOKEN of the environment template-update is missing"),
        (note, {"GITHUB_REPOSITORY": ""}, "GITHUB_REPOSITORY must be in the environment"),
        (
            note | {"template": "/nowhere"},
            {"GITHUB_ACTIONS": "true"},
            " -m cruft` failed: InvalidCookiecutterRepository: Unable to initialize",
        ),
        ([], {}, ".cruft.json, in which cruft notes where a project comes from, is missing or damaged"),
        (None, {}, "`cruft link` makes one"),
    ):
        (project / ".cruft.json").unlink()
        if content is not None:
            (project / ".cruft.json").write_text(json.dumps(content))
        if run("git", "status", "--porcelain", cwd=project).stdout:
            commit_all(project, run)
        done = update(**variables)
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert sentence in done.stderr


def test_a_refusal_of_the_server_is_told(github: GitHub, update: Updating, tmp_path: Path) -> None:
    """GitHub refuses a change of .github/workflows where the token lacks the permission, and says so in one line."""
    hook = tmp_path / "origin" / "hooks" / "update"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    done = update()
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "`git push --quiet` failed: ! [remote rejected]" in done.stderr
    assert github.requests == []


def test_the_token_goes_to_the_server_alone(project: Path, github: GitHub, update: Updating, run: Run) -> None:
    """In a header, as GitHub wants it, and to no other server."""
    seen: list[str | None] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_error(403)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        run("git", "remote", "set-url", "origin", f"{url}/acme/loans", cwd=project)
        ours, another = update(GITHUB_SERVER_URL=url), update(GITHUB_SERVER_URL="https://github.example")
        server.shutdown()
    assert seen == [f"basic {base64.b64encode(f'x-access-token:{TOKEN}'.encode()).decode()}", None]
    assert [done.returncode for done in (ours, another)] == [3, 3]
    assert "403" in ours.stderr


def test_a_long_list_is_cut() -> None:
    """GitHub refuses a text of more than 65,536 characters; and it links to the changes where GitHub shows them."""
    before = Origin("https://github.com/acme/template.git", "template", "a" * 40)
    text = text_of(before, before._replace(commit="b" * 40), [f"{'x' * 200}/{n}" for n in range(LISTED + 3)])
    assert text.endswith("\n- and 3 more")
    assert len(text) < 65_536
    assert f"https://github.com/acme/template/compare/{'a' * 40}...{'b' * 40}" in text


OLDER, NEWER = "rich==14.1.0", "rich==15.0.0"


@pytest.fixture(name="locked")
def _locked(default: Path, run: Run, tmp_path: Path) -> Path:
    """A generated project with an older library in its locks, and an origin; `uv` here finds the newer one."""
    project = Path(shutil.copytree(default, tmp_path / "locked"))
    (project / "requirements" / "lock.sh").write_text(
        f'[ "$UPGRADE $COOLDOWN $GITHUB_TOKEN" = "1 7 days " ] && sed -i s/{OLDER}/{NEWER}/ requirements/*.txt\n'
    )
    lock = project / "requirements" / "dev.txt"
    lock.write_text(re.sub(r"^rich==\S+", OLDER, lock.read_text(), flags=re.MULTILINE))
    commit_all(project, run)
    run("git", "init", "--quiet", "--bare", tmp_path / "origin", cwd=tmp_path)
    run("git", "remote", "add", "origin", tmp_path / "origin", cwd=project)
    run("git", "push", "--quiet", "origin", "main", cwd=project)
    return project


def newest(project: Path, github: GitHub, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "release.github.updates", "libraries"],
        cwd=project,
        env=environment | {"PYTHONPATH": str(project / "src")} | github.environment,
        check=False,
        capture_output=True,
        text=True,
    )


def test_newer_libraries_become_a_pull_request_that_is_checked(
    locked: Path, github: GitHub, environment: dict[str, str], run: Run, tmp_path: Path
) -> None:
    """A workflow's own pull request starts no workflow, so the pipeline is started on its branch."""
    done = newest(locked, github, environment)
    assert (done.returncode, done.stdout) == (0, "Opened #7.\n"), done.stderr
    assert NEWER in run("git", "show", "library-update:requirements/dev.txt", cwd=tmp_path / "origin").stdout
    assert OLDER in run("git", "show", "main:requirements/dev.txt", cwd=tmp_path / "origin").stdout
    opened, started = github.written
    assert opened[2]["body"].endswith("- rich 14.1.0 → 15.0.0")
    assert (started[1], started[2]) == (
        "/repos/acme/loans/actions/workflows/pipeline.yml/dispatches",
        {"ref": "library-update"},
    )


def test_where_no_workflow_may_open_a_pull_request_a_person_can(
    locked: Path, github: GitHub, environment: dict[str, str]
) -> None:
    """That is how a new repository is set. Nothing is red: an issue has the link to one that is checked by itself."""
    github.failures = [200, 403]
    done = newest(locked, github, environment)
    assert (done.returncode, done.stdout) == (0, "Opened #50.\n"), done.stderr
    assert "https://github.example/acme/loans/compare/main...library-update?expand=1" in github.issues[0]["body"]


def test_libraries_that_are_the_newest_open_nothing(
    locked: Path, github: GitHub, environment: dict[str, str], run: Run
) -> None:
    """A month without news."""
    (locked / "requirements" / "lock.sh").write_text("true\n")
    commit_all(locked, run)
    assert newest(locked, github, environment).stdout == "Nothing to do: the libraries are the newest that fit.\n"
    assert github.requests == []


def test_a_library_is_listed_once() -> None:
    """With both versions, however many locks and markers name it; one that only moved is none."""
    diff = "-a==1 ; x\n-a==1 \\\n+a==2 ; x\n+b-c==3\n-d==4\n+d==4 ; y\n    --hash=sha256:0\n"
    assert changes_of(diff) == ["- a 1 → 2", "- b-c none → 3"]
