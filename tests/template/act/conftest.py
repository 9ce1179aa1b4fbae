"""The places where the workflows run: this repository, and a generated project."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.engine.conftest import engine  # noqa: F401  a fixture
from tests.engine.release.github_server import serving
from tests.template.act.buildkit import serving_buildkit
from tests.template.act.place import CLIENTS, IMAGE, Place, shorten_tests
from tests.template.act.registry import Registry, serving_registry
from tests.template.act.results import serving_results
from tests.template.conftest import ROOT, Bake, Run, commit_all
from tests.template.npm import install

# Enough to tell a service from one that takes three times as long, and no more.
LOOSE = {"p95_ms": "500", "max_regression": "0.5", "profile": '"quick"'}
# At the end of [perf], the last section.
SHORT = "min_requests = 100\n[perf.profiles.quick]\ndecide_after = [3, 5, 8]\nround_seconds = 1\nwarmup_seconds = 0.2\n"


@pytest.fixture(name="act", scope="session")
def _act(engine: None) -> None:  # noqa: F811
    """act and the image of its runner. Without them a test is skipped, but fails in CI."""
    missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    if shutil.which("act") is None:
        missing("needs act on PATH: go install github.com/nektos/act@v0.2.89")
    if subprocess.run(["docker", "image", "inspect", IMAGE], check=False, capture_output=True).returncode:
        missing(f"needs the image {IMAGE}: make act-runner")


@pytest.fixture(name="registry", scope="session")
def _registry(act: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry on a free port of 127.0.0.1, which asks for tokens."""
    if shutil.which("docker-registry") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs docker-registry (Debian, Ubuntu)")
    with serving_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(name="buildkit", scope="session")
def _buildkit(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the socket of a BuildKit daemon."""
    if shutil.which("buildkitd") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs buildkitd on PATH: make buildkitd")
    with serving_buildkit(tmp_path_factory.mktemp("buildkit"), registry.address) as folder:
        yield folder


@pytest.fixture(name="clients", scope="session")
def _clients() -> Path:
    """GitHub's own clients of artifacts and caches."""
    if shutil.which("npm") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs node and npm: https://nodejs.org")
    return install(CLIENTS, ROOT / ".cache" / "github-clients")


@pytest.fixture(name="place", scope="session")
def _place(
    registry: Registry, buildkit: Path, clients: Path, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Path, str], Place]]:
    """Makes a checkout into a place where workflows run, with a short load test, ruff, the shortest of tests."""
    uv = tmp_path_factory.mktemp("uv")

    def make(checkout: Path, repository: str) -> Place:
        github = stack.enter_context(serving(repository))
        results = stack.enter_context(serving_results(tmp_path_factory.mktemp("results")))
        settings = checkout / "pipeline.toml"
        text = settings.read_text()
        for key, value in LOOSE.items():
            text, count = re.subn(rf"^{key} = \S+( #.*)?$", f"{key} = {value}", text, flags=re.MULTILINE)
            assert count == 1, key
        settings.write_text(text + SHORT)
        hooks = yaml.safe_load((checkout / ".pre-commit-config.yaml").read_text())
        hooks["repos"][0]["hooks"] = [hook for hook in hooks["repos"][0]["hooks"] if hook["id"].startswith("ruff")]
        (checkout / ".pre-commit-config.yaml").write_text(yaml.safe_dump(hooks))
        shorten_tests(checkout)
        commit_all(checkout, run)
        kept = tmp_path_factory.mktemp("kept")
        return Place(checkout, repository, registry, github, results, clients, kept, uv, buildkit)

    with ExitStack() as stack:
        yield make


@pytest.fixture(name="here", scope="session")
def _here(repository: Path, place: Callable[[Path, str], Place], tmp_path_factory: pytest.TempPathFactory) -> Place:
    """This very repository."""
    checkout = tmp_path_factory.mktemp("here") / "cookiecutter-mlops-gate"
    shutil.copytree(repository, checkout)
    return place(checkout, "octocat/cookiecutter-mlops-gate")


@pytest.fixture(name="baked", scope="session")
def _baked(bake: Bake, place: Callable[[Path, str], Place]) -> Place:
    """A generated project with other names, with capitals and dots in them."""
    project = bake(project_name="Acme's loans", task="regression", github_owner="Acme-Inc").project
    return place(project, "Acme-Inc/Acme_Loans-v2.0")
