"""release.image without an engine: what it asks Docker for, and its one sentence where something is missing.

Where Docker answers, it is a script that says what the real one was seen to say; tests/engine/docker builds for real.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipeline import bundle as bundles
from pipeline.bundle import SERVED, Card
from pipeline.settings import load_settings
from release.image import arguments_of_build, labels, main
from release.repository import INPUTS, REPLACES
from tests.conftest import environment
from tests.engine.conftest import ROOT

DIGEST = "sha256:" + "9f148854" * 8
ENGINE = """case "$*" in version*) exit;; "buildx version") exit;; "buildx inspect") echo "Driver: docker"; exit;; """


@pytest.fixture(name="card")
def _card(trained: Path) -> Card:
    return bundles.read(trained / "bundle").card


@pytest.fixture(name="here")
def _here(trained: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a bundle, in which the command runs."""
    for path in (trained / "bundle").iterdir():
        (project / "bundle").mkdir(exist_ok=True)
        (project / "bundle" / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(project)
    return project


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The last line that the command prints when it cannot build."""
    assert main(list(arguments)) == 3
    return capsys.readouterr().out.strip().splitlines()[-1]


def test_the_labels_name_model_run_and_source(card: Card) -> None:
    """Names of people and organisations come from the environment, and what is unknown is left out."""
    unknown = labels(msgspec.structs.replace(card, git_sha=""), "", "", "", {})
    assert unknown["mlops.run-id"] == card.run_id
    assert not {key for key in unknown if key.endswith((".revision", ".source", ".description"))}
    github = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "Acme/Loans"}
    known = labels(msgspec.structs.replace(card, git_sha="abc"), "Loans.", "digest", "ghcr.io/a/b@sha256:0", github)
    assert known["org.opencontainers.image.source"] == "https://github.com/Acme/Loans"
    assert known["org.opencontainers.image.revision"] == "abc"
    assert (known[INPUTS], known[REPLACES]) == ("digest", "ghcr.io/a/b@sha256:0")


def test_the_label_names_the_commit_that_serves(card: Card) -> None:
    """A model that was not trained again is older than the code around it."""
    old = msgspec.structs.replace(card, git_sha="abc")
    assert labels(old, "", "", "", {"GITHUB_SHA": "def"})["org.opencontainers.image.revision"] == "def"


@pytest.mark.parametrize(("runtime", "requirements"), [("onnx", "serve"), ("sklearn", "serve-sklearn")])
def test_the_libraries_follow_the_runtime(card: Card, runtime: str, requirements: str) -> None:
    """scikit-learn goes in only where it serves."""
    card = msgspec.structs.replace(card, runtime=runtime)
    asked = arguments_of_build(card, "3.14", "loans:3", push=False, cache="", attest=False)
    assert f"--build-arg=REQUIREMENTS={requirements}" in asked
    assert "--build-arg=PYTHON_VERSION=3.14" in asked
    assert ("--load" in asked, "--push" in asked) == (True, False)


def test_the_image_holds_what_it_takes_to_serve_a_version() -> None:
    """The Dockerfile cannot read the list, and a champion is rebuilt from its image by that list."""
    service = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    copied = re.findall(r"^COPY --chmod=\d+ (\S+) /app/", service, re.MULTILINE)
    assert sorted(copied) == sorted(SERVED)


def test_the_check_of_the_image_is_not_traced(trained: Path) -> None:
    """A BuildKit daemon hands each step variables of OpenTelemetry, and the image has no library for spans."""
    (step,) = re.findall(r"^RUN (\[.*--check-config.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    words = [word.replace("/app/", f"{trained}/") for word in json.loads(step)]
    gunicorn = words.index(f"{trained}/.venv/bin/gunicorn")
    command = [*words[:gunicorn], sys.executable, "-m", "gunicorn", *words[gunicorn + 1 :]]
    buildkit = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}
    buildkit |= {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "unix:///dev/otel-grpc.sock"}
    given = environment(trained, BUNDLE=str(trained / "bundle"), **buildkit)
    done = subprocess.run(command, cwd=trained, env=given, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    traced = subprocess.run(command[words.index("env") + 2 :], cwd=trained, env=given, check=False, capture_output=True)
    assert traced.returncode != 0


def test_no_bundle(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what to run first."""
    monkeypatch.chdir(project)
    assert "run `make train`" in said(capsys)


def test_other_code_than_the_bundle_was_trained_with(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The service would refuse to start, so it is said before anything is built."""
    with (here / "src" / "model" / "data.py").open("a") as file:
        file.write("\n")
    assert "src/model has changed" in said(capsys)


def test_another_project_than_the_bundle_is_of(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A project that was renamed has to train again before it has an image."""
    monkeypatch.setenv("MLOPS_PROJECT__NAME", "renamed")
    assert "pipeline.toml names renamed; run `make train`" in said(capsys)


def test_no_docker(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """There is a way to serve without it."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no `docker` on PATH" in said(capsys)


def test_no_engine(here: Path, docker: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """Docker's own reason is in the sentence."""
    docker("echo 'Cannot connect to the Docker daemon at unix:///x.sock' >&2; exit 1")
    assert "engine does not answer (Cannot connect to the Docker daemon" in said(capsys)


def test_no_buildx(here: Path, docker: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """An engine without it is common on Debian."""
    docker('[ "$1" = version ] || { echo "docker: \'buildx\' is not a docker command." >&2; exit 1; }')
    assert "Docker has no buildx" in said(capsys)


def test_a_build_that_fails(here: Path, docker: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """The end of the build's output is shown, and the note on an older image is gone: nobody shall test that one."""
    (here / ".mlops").mkdir()
    (here / ".mlops" / "image.json").write_text('{"image": "loans:1"}')
    docker(ENGINE + "*) echo 'long ago'; seq 100; echo 'ERROR: no space left [on device]' >&2; exit 1;; esac")
    assert main([]) == 3
    printed = capsys.readouterr().out
    assert "ERROR: no space left [on device]" in printed
    assert "long ago" not in printed
    assert "failed; its last lines are above" in printed.splitlines()[-1]
    assert not (here / ".mlops" / "image.json").exists()


def test_a_push_is_noted_by_digest(
    here: Path, docker: Callable[[str], None], card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is measured and promoted later is this very image, whatever becomes of its tag, which names the commit."""
    monkeypatch.setenv("GITHUB_SHA", "0123456789")
    monkeypatch.setenv("GITHUB_OUTPUT", str(here / "output"))
    docker(
        f"""{ENGINE} *) ;; esac
        echo "$*" >asked
        for word; do case $word in
            --metadata-file=*) echo '{{"containerimage.digest": "{DIGEST}"}}' >"${{word#*=}}";;
        esac; done"""
    )
    champion = f"ghcr.io/acme/loans@sha256:{'1' * 64}"
    assert main(["--push", "ghcr.io/Acme/Loans", "--cache", "--replaces", champion]) == 0
    made = json.loads((here / ".mlops" / "image.json").read_text())
    reference = f"ghcr.io/acme/loans@{DIGEST}"
    assert made == {"image": reference, "id": DIGEST, "repository": "ghcr.io/acme/loans"}
    outputs = f"image={reference}\ndigest={DIGEST}\nrepository=ghcr.io/acme/loans\n"
    assert (here / "output").read_text() == outputs
    asked = (here / "asked").read_text().split()
    assert f"--tag=ghcr.io/acme/loans:{card.version}-0123456" in asked
    assert f"--label={REPLACES}={champion}" in asked
    settings = load_settings(here)
    assert f"--label={INPUTS}={bundles.service_inputs(here, settings, card.bundle_sha256, card.runtime)}" in asked
    assert not [word for word in asked if word.startswith("--cache")]  # Docker's own builder can export none
    assert not [word for word in asked if word.startswith(("--sbom", "--provenance"))]  # and can attach nothing


def test_an_image_says_what_went_into_it(here: Path, docker: Callable[[str], None], card: Card) -> None:
    """A builder that can attaches an SBOM and the provenance of the build to what it pushes, and keeps its layers.

    Each reference is one that registries take, whatever GitHub allows: BuildKit ends at a capital in the cache's.
    """
    docker(
        f"""{ENGINE.replace("docker", "docker-container", 1)} *) ;; esac
        echo "$*" >asked
        for word; do case $word in
            --metadata-file=*) echo '{{"containerimage.digest": "{DIGEST}"}}' >"${{word#*=}}";;
        esac; done"""
    )
    assert main(["--push", "ghcr.io/Acme-Inc/Loans_.", "--cache"]) == 0
    asked = (here / "asked").read_text().split()
    assert {"--sbom=true", "--provenance=mode=max"} < set(asked)
    cache = "type=registry,ref=ghcr.io/acme-inc/loans:cache"
    assert {f"--cache-from={cache}", f"--cache-to={cache},mode=max,ignore-error=true"} < set(asked)


def test_a_package_that_was_pushed_by_hand_is_explained(
    here: Path, docker: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """GitHub lets a repository write to the packages that it made itself; its answer does not say where."""
    docker(ENGINE + "*) echo 'ERROR: denied: permission_denied: write_package' >&2; exit 1;; esac")
    assert "Manage Actions access" in said(capsys, "--push", "ghcr.io/acme/loans")
