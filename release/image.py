"""Builds the image that serves bundle/, with Docker's buildx.

    make image
    python -m release.image                                  into the local engine, as <name>:<version>
    python -m release.image --push ghcr.io/owner/project [--cache] [--replaces IMAGE]     into a registry, by digest

Writes .mlops/image.json (pipeline.notes.Image). Exit code 3: could not be built, the last line says why.
"""

import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from perf.arms.arm import ArmError
from perf.arms.containers import docker
from pipeline import bundle as bundles
from pipeline import command, notes
from pipeline.bundle import REQUIREMENTS, BundleError, Card
from pipeline.notes import Image
from pipeline.settings import SettingsError, load_settings
from release.repository import INPUTS, REPLACES, REVISION, ImageError, by_digest, canonical, last_line, tagged

SHOWN_LINES = 30  # of the output of a build that failed
NO_WRITER = (  # so of a package that was first pushed by hand
    ". On GitHub the package has to let this repository write: Package settings, Manage Actions access, Add repository"
)
STEP = re.compile(r"#\d+ (\[.+?\] .+)")  # "#8 [service 4/9] COPY serving /app/serving"
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")

console = Console(highlight=False, soft_wrap=True)


def labels(card: Card, description: str, service: str, replaces: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The OCI labels: who the model is and where it comes from. What is not known is left out.

    service: pipeline.bundle.service_inputs; replaces: the champion that it is measured beside, by digest.
    """
    server, repository = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_REPOSITORY", "")
    known = {
        "org.opencontainers.image.title": card.name,
        "org.opencontainers.image.description": description,
        "org.opencontainers.image.version": card.version,
        REVISION: environment.get("GITHUB_SHA") or card.git_sha,
        "org.opencontainers.image.created": card.created,
        "org.opencontainers.image.source": f"{server}/{repository}" if server and repository else "",
        "mlops.model": card.name,
        "mlops.version": card.version,
        "mlops.run-id": card.run_id,
        "mlops.bundle-sha256": card.bundle_sha256,
        "mlops.data": f"{card.data.get('path', '')} {card.data.get('version', '')}".strip(),
        "mlops.data-sha256": str(card.data.get("sha256", "")),
        INPUTS: service,
        REPLACES: replaces,
    }
    return {key: value for key, value in known.items() if value}


def arguments_of_build(card: Card, python: str, image: str, push: bool, cache: str, attest: bool) -> list[str]:
    """What `docker buildx build` is told, less the labels and the folder.

    `cache`: the image that keeps the layers between builds; empty: none. `attest`: attach what went into the image
    (SBOM) and how it was built (SLSA provenance).
    """
    caches = [
        f"--cache-from=type=registry,ref={cache}",
        f"--cache-to=type=registry,ref={cache},mode=max,ignore-error=true",
    ]
    return [
        "--push" if push else "--load",
        f"--tag={image}",
        f"--build-arg=PYTHON_VERSION={python}",
        f"--build-arg=REQUIREMENTS={REQUIREMENTS[card.runtime]}",
        *(caches if cache else []),
        *(["--sbom=true", "--provenance=mode=max"] if attest else []),
    ]


def read_card(root: Path) -> tuple[Card, str, str]:
    """The card of bundle/, the project's description, and what the service is made of.

    Raises BundleError, SettingsError or ImageError.
    """
    card, settings = bundles.read(root / "bundle").card, load_settings(root)
    project = settings.project
    if card.name != project.name:
        raise ImageError(f"bundle/ is of {card.name}, but pipeline.toml names {project.name}; run `make train`")
    if bundles.code_digest(root / "src" / "model") != card.code_sha256:
        raise ImageError("src/model has changed since bundle/ was trained; run `make train`")
    return card, project.description, bundles.service_inputs(root, settings, card.bundle_sha256, card.runtime)


def check_docker() -> None:
    """Raises ImageError where Docker, its engine or buildx is missing."""
    if shutil.which("docker") is None:
        raise ImageError("there is no `docker` on PATH; install Docker, or do without an image: `make serve`")
    try:
        docker("version")
    except ArmError as error:
        raise ImageError(f"Docker's engine does not answer ({last_line(error)}); start it") from None
    try:
        docker("buildx", "version")
    except ArmError:
        plugin = "docker-buildx, or docker-buildx-plugin"
        raise ImageError(f"Docker has no buildx; install its plugin ({plugin})") from None


def build(image: str, options: list[str], root: Path) -> None:
    """Runs `docker buildx build`, showing the step it is at. Raises ImageError with the end of its output."""
    command = ["docker", "buildx", "build", "--progress=plain", *options, str(root)]
    last: collections.deque[str] = collections.deque(maxlen=SHOWN_LINES)
    with (
        console.status(f"build {image}") as status,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101  a pipe was asked for
        for line in process.stdout:
            last.append(line.rstrip())
            if step := STEP.match(line):
                status.update(f"build {image}: {step[1][:80]}".replace("[", r"\["))
    if process.returncode:
        console.print("\n".join(last), markup=False)
        denied = NO_WRITER if "permission_denied: write_package" in "".join(last) else ""
        raise ImageError(f"the build of {image} failed; its last lines are above{denied}")


class Wanted(NamedTuple):
    """What the image is made for."""

    push: str = ""  # the repository to push it to
    replaces: str = ""  # the champion that it would replace, by digest
    tag: str = ""  # empty: the model's version, and where it is pushed the commit
    cache: bool = False  # keep the layers between builds in that repository


def make(root: Path, wanted: Wanted) -> list[str]:
    """Builds the image of the project in `root`, notes it in .mlops/image.json, and returns what to say of it."""
    (root / Image.path).unlink(missing_ok=True)
    card, description, service = read_card(root)
    python = (root / ".python-version").read_text().strip()
    known = labels(card, description, service, wanted.replaces, os.environ)
    repository = canonical(wanted.push) if wanted.push else card.name
    # One version may be served by the code of many commits.
    commit = f"-{known[REVISION][:7]}" if wanted.push and REVISION in known else ""
    tag = wanted.tag or f"{card.version}{commit}"
    if not TAG.fullmatch(tag):
        raise ImageError(f"--tag {tag}: a tag has letters, digits, dots, dashes and underscores, at most 128")
    check_docker()
    image, push = tagged(repository, tag), bool(wanted.push)
    # The engine's own builder keeps its layers itself and can export none, and can attach nothing to an image.
    able = _driver() != "docker"
    cache = tagged(repository, "cache") if push and able and wanted.cache else ""
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder, "metadata.json")
        options = arguments_of_build(card, python, image, push, cache, push and able)
        options += [f"--label={key}={value}" for key, value in known.items()]
        build(image, [*options, f"--metadata-file={metadata}"], root)
        digest = json.loads(metadata.read_text()).get("containerimage.digest", "") if push else ""
    lines = []
    if push:
        if not digest:
            raise ImageError(f"{image} was pushed, but buildx did not say under which digest; use a newer buildx")
        note = Image(by_digest(repository, digest), digest, repository)
        lines.append(f"Pushed {image}, {digest}.")
        if not able:
            lines.append("Without SBOM and provenance: this builder cannot attach them (docker buildx create --use).")
    else:
        identifier, size = docker("image", "inspect", "--format", "{{.Id}} {{.Size}}", image).split()
        note = Image(image, identifier, "")
        lines.append(f"Built {image}, {int(size) / 1e6:.0f} MB with its base python:{python}-slim.")
    notes.write(root, note)
    command.output(image=note.image, digest=note.id, repository=note.repository)
    return lines


def _driver() -> str:
    """How the current builder of buildx works, such as docker or docker-container."""
    driver = re.search(r"^Driver:\s*(\S+)", docker("buildx", "inspect"), re.MULTILINE)
    return driver[1] if driver else ""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.image", description="Build the image that serves bundle/.")
    parser.add_argument("--push", default="", metavar="REPOSITORY", help="push there, such as ghcr.io/owner/project")
    parser.add_argument("--replaces", default="", metavar="IMAGE", help="the champion that it would replace, by digest")
    parser.add_argument("--tag", default="", help="instead of the model's version and the commit")
    parser.add_argument("--cache", action="store_true", help="with --push: keep the layers there between builds")
    wanted = Wanted(**vars(parser.parse_args(argv)))
    try:
        lines = make(Path.cwd(), wanted)
    except (BundleError, SettingsError, ArmError, OSError) as error:
        console.print(f"Cannot build the image: {error}", style="red", markup=False)
        return 3
    for line in lines:
        console.print(line, markup=False)
    return 0


if __name__ == "__main__":
    command.end(main)
