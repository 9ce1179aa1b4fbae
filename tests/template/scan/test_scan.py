"""What the step "Scan the image" stops, by Trivy itself and a database of four vulnerabilities.

Trivy takes minutes to build, so these are apart from the other tests: make test-scan.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.conftest import engine  # noqa: F401  a fixture
from tests.template.act.registry import READER, WRITER, Registry, serving_registry

from ..conftest import ROOT

DATABASE = Path(__file__).with_name("database")
SYSTEM, LIBRARY, UNFIXED, HIGH = (f"CVE-2099-000{number}" for number in (1, 2, 3, 4))
DEBIAN, PYPI = "debian 13", "pip::GitHub Security Advisory Pip"
ROWS: list[list[Any]] = [
    [DEBIAN, "glibc", SYSTEM, {"FixedVersion": "99:1"}],
    [PYPI, "leftpad", LIBRARY, {"PatchedVersions": ["99"], "VulnerableVersions": ["<99"]}],
    [DEBIAN, "bash", UNFIXED, {"Severity": 4}],
    [DEBIAN, "coreutils", HIGH, {"FixedVersion": "99:1"}],
]
ROWS += [["data-source", each, {"ID": each, "Name": each, "URL": "https://example.org"}] for each in (DEBIAN, PYPI)]
ROWS += [["vulnerability", each, {"Severity": "CRITICAL"}] for each in (SYSTEM, LIBRARY, UNFIXED)]
ROWS += [["vulnerability", HIGH, {"Severity": "HIGH"}]]
DOCKERFILE = """FROM python:3.13-slim
COPY METADATA /usr/lib/python3/dist-packages/leftpad-1.0.dist-info/METADATA
"""
INSTALLED = "Metadata-Version: 2.1\nName: leftpad\nVersion: 1.0\n"


@dataclass
class Scanner:
    """Trivy as the step calls it; two registries; an image of the engine, and the same behind an index, by digest."""

    folder: Path
    images: Registry
    databases: Registry
    local: str
    pushed: str

    def __call__(self, image: str, *accepted: str) -> tuple[int, str]:
        """Returns its exit status and what it printed, where .trivyignore has these lines."""
        (self.folder / ".trivyignore").write_text("\n".join(accepted))
        given = {"HOME": str(self.folder), "DOCKER_CONFIG": str(self.folder), "PATH": os.environ["PATH"]}
        given |= {"TRIVY_CACHE_DIR": str(self.folder / "cache")}
        given |= {"TRIVY_DB_REPOSITORY": f"{self.databases.address}/mirror/trivy-db:2"}
        jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "pipeline.yml").read_text())["jobs"]
        (step,) = [each for each in jobs["load-test"]["steps"] if each.get("name") == "Scan the image"]
        for key, value in step["with"].items():
            if key not in ("image-ref", "version"):  # the others are settings of Trivy, as the action hands them over
                given[f"TRIVY_{key.replace('-', '_').upper()}"] = str(value).lower() if value is True else str(value)
        done = subprocess.run(
            ["trivy", "image", image],
            cwd=self.folder,
            env=given,
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr


def keep_password(folder: Path, registry: Registry, password: str) -> None:
    """As `docker login` does."""
    known = {registry.address: {"auth": base64.b64encode(f"x:{password}".encode()).decode()}}
    (folder / "config.json").write_text(json.dumps({"auths": known}))


@pytest.fixture(name="scan", scope="module")
def _scan(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanner]:  # noqa: F811
    for needed, how in (("trivy", "make trivy"), ("go", "https://go.dev"), ("docker-registry", "Debian, Ubuntu")):
        if shutil.which(needed) is None:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {needed} on PATH: {how}")
    folder, build = tmp_path_factory.mktemp("scan"), tmp_path_factory.mktemp("build")
    (build / "Dockerfile").write_text(DOCKERFILE)
    (build / "METADATA").write_text(INSTALLED)
    (build / "rows.json").write_text(json.dumps(ROWS))
    with (
        serving_registry(tmp_path_factory.mktemp("images")) as images,
        serving_registry(tmp_path_factory.mktemp("databases")) as databases,
    ):
        given = os.environ | {"DOCKER_CONFIG": str(folder)}

        def command(*words: object, cwd: Path = build) -> str:
            return subprocess.run(words, cwd=cwd, env=given, check=True, stdout=subprocess.PIPE, text=True).stdout  # type: ignore[call-overload,no-any-return]

        keep_password(folder, databases, WRITER)
        command("go", "run", ".", build / "rows.json", f"{databases.address}/mirror/trivy-db:2", cwd=DATABASE)
        databases.public.add("mirror/trivy-db")
        databases.handed.clear()
        keep_password(folder, images, WRITER)
        name = f"{images.address}/acme/loans"
        command("docker", "build", "--quiet", "--tag", f"{name}:local", ".")
        command("docker", "push", "--quiet", f"{name}:local")
        command("docker", "tag", f"{name}:local", "loans:local")
        command("docker", "buildx", "imagetools", "create", "--tag", f"{name}:index", f"{name}:local")
        shown = command("docker", "buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", f"{name}:index")
        index = json.loads(shown)
        assert len(index["manifests"]) == 1
        command("docker", "image", "rm", f"{name}:local")
        keep_password(folder, images, READER)
        yield Scanner(folder, images, databases, "loans:local", f"{name}@{index['digest']}")
        command("docker", "image", "rm", "loans:local")


@pytest.mark.parametrize("kind", ["local", "pushed"])
def test_a_critical_vulnerability_with_a_fix_stops_the_image(scan: Scanner, kind: str) -> None:
    """Of the system and of a library; nothing else counts. An image of the engine, or one that is known by digest."""
    status, printed = scan(getattr(scan, kind))
    assert status == 1, printed
    named = {each for each in (SYSTEM, LIBRARY, UNFIXED, HIGH) if each in printed}
    assert named == {SYSTEM, LIBRARY}


def test_a_vulnerability_is_accepted_for_a_time(scan: Scanner) -> None:
    """As pipeline.yml says: a line in .trivyignore, until its date."""
    status, printed = scan(scan.local, "# no fix for us yet", f"{SYSTEM} exp:2099-01-31", f"{LIBRARY} exp:2099-01-31")
    assert status == 0, printed
    status, printed = scan(scan.local, f"{SYSTEM} exp:2099-01-31", f"{LIBRARY} exp:2026-01-31")
    assert status == 1
    assert LIBRARY in printed
    assert SYSTEM not in printed


def test_the_password_goes_to_the_registry_of_the_image_alone(scan: Scanner) -> None:
    """Where the database comes from, Trivy is a stranger."""
    shutil.rmtree(scan.folder / "cache", ignore_errors=True)
    scan(scan.pushed)
    assert {each.password for each in scan.images.handed} >= {READER}
    assert {each.password for each in scan.databases.handed} == {""}
