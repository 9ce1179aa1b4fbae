"""A committed copy of this repository, and one way to generate projects from it: the `bake` fixture."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE_FOLDER = "{{cookiecutter.project_slug}}"
RENDERED = {".python-version", "LICENSE", "README.md", "pipeline.toml", "pyproject.toml"}
# What would speak of the outer project in a child: its Git repository, its make, its interpreter, its settings.
OUTER = ("COOKIECUTTER_", "GIT_", "MAKE", "MFLAGS", "MLFLOW_", "MLOPS_", "PYTEST_", "PYTHON", "VENV", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Baked:
    """What a run of cookiecutter gave: its exit status, all that it printed, and the folder that it wrote to."""

    status: int
    printed: str
    output: Path

    @property
    def project(self) -> Path:
        """The generated project; fails with what was printed where there is none."""
        assert self.status == 0, self.printed
        (project,) = self.output.iterdir()
        return project


Bake = Callable[..., Baked]
Run = Callable[..., subprocess.CompletedProcess[str]]


def tree(folder: Path) -> dict[str, bytes]:
    """Returns {path: content} of each file in the folder, Git's own left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {path: content for path, content in contents.items() if not path.startswith(".git/")}


def project_paths(repository: Path) -> set[str]:
    """Returns the files that a project generated from the repository has to have, no more and no fewer."""
    own = json.loads((repository / "cookiecutter.json").read_text(encoding="utf-8"))["_template_only"]
    own = [*own, TEMPLATE_FOLDER]
    return {path for path in tree(repository) if not any(f"{path}/".startswith(f"{it}/") for it in own)} | RENDERED


@pytest.fixture(name="environment", scope="session")
def _environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of every child: nothing of the outer project or the user, temporary files in one place."""
    scratch = tmp_path_factory.mktemp("environment")
    (scratch / "tmp").mkdir()
    config = {"cookiecutters_dir": str(scratch / "cookiecutters"), "replay_dir": str(scratch / "replay")}
    (scratch / "cookiecutter.yaml").write_text(json.dumps(config), encoding="utf-8")
    (scratch / "gitconfig").write_text("[user]\nname = A Tester\nemail = tester@example.org\n", encoding="utf-8")
    return {name: value for name, value in os.environ.items() if not name.startswith(OUTER)} | {
        "COOKIECUTTER_CONFIG": str(scratch / "cookiecutter.yaml"),
        "GIT_CONFIG_GLOBAL": str(scratch / "gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "TMPDIR": str(scratch / "tmp"),
        "QUIET": "1",
    }


@pytest.fixture(name="run", scope="session")
def _run(environment: dict[str, str]) -> Run:
    """Runs a command, prints into one text, and fails the test on an exit status other than the expected one."""

    def run(*command: str | Path, cwd: Path, status: int = 0, **extra: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment | extra,
            check=False,
            timeout=600,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        assert done.returncode == status, f"{command}: exit status {done.returncode}\n{done.stdout}"
        return done

    return run


@pytest.fixture(name="repository", scope="session")
def _repository(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """This repository as it lies here, new files included, committed in a folder of its own. Read only: clone it."""
    repository = tmp_path_factory.mktemp("repository") / "cookiecutter-mlops-gate"
    # The outer environment and configuration: a checkout may be safe to this user because they say so.
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for path in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (ROOT / path).is_file():
            (repository / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, repository / path)
    commit_all(repository, run)
    return repository


def commit_all(folder: Path, run: Run) -> None:
    """Commits everything in the folder, which becomes a Git repository on the branch main if it is none."""
    run("git", "init", "--quiet", "--initial-branch=main", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "--quiet", "--message=A change", cwd=folder)


@pytest.fixture(name="checkout")
def _checkout(repository: Path, tmp_path: Path, run: Run) -> Path:
    """A clone of the repository that the test may change."""
    checkout = tmp_path / "cookiecutter-mlops-gate"
    run("git", "clone", "--quiet", repository, checkout, cwd=tmp_path)
    return checkout


@pytest.fixture(name="make", scope="session")
def _make() -> list[str]:
    """make in a project that is not installed: it uses the environment that runs this test, as it is."""
    stamps = [f"--old-file={sys.prefix}/{name}" for name in ("bin/uv", ".dev", ".template")]
    return ["make", f"VENV={sys.prefix}", *stamps]


@pytest.fixture(name="bake", scope="session")
def _bake(repository: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """Runs cookiecutter without questions: bake(*options, template=…, variables={…}, **answers) returns a Baked."""

    def bake(
        *options: str,
        template: Path | str = repository,
        output: Path | None = None,
        variables: dict[str, str] | None = None,
        **answers: str,
    ) -> Baked:
        output = output or tmp_path_factory.mktemp("baked")
        given = [f"{name}={value}" for name, value in answers.items()]
        done = subprocess.run(
            [sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", output, *options, template, *given],
            cwd=output,
            env=environment | (variables or {}),
            check=False,
            timeout=600,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        return Baked(done.returncode, done.stdout, output)

    return bake


@pytest.fixture(name="default", scope="session")
def _default(bake: Bake) -> Path:
    """The project that the default answers give. Read only."""
    return bake().project


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves act, the scan and deployments to `make test-act test-scan test-deploy`: they take longest of all."""
    if collection_path not in [Path(__file__).with_name(name) for name in ("act", "scan", "deploy")]:
        return None
    named = any(Path(argument.split("::")[0]).resolve().is_relative_to(collection_path) for argument in config.args)
    return None if named else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the generated project's own lint and tests last: they take longest and say least about a fault."""
    items.sort(key=lambda item: item.path.name == "test_runner.py")
