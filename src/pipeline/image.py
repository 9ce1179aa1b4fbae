"""Builds the image that serves bundle/, with Docker's buildx.

    make image
    python -m pipeline.image                                  into the local engine, as <name>:<version>
    python -m pipeline.image --push ghcr.io/owner/project     into a registry, referred to by digest

Writes .mlops/image.json: "image" (a reference that can be run), "id", and "champion" (what the tag champion of the same
repository stands for, by digest; empty where there is none). Exit code 3: could not be built, the last line says why.
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

from rich.console import Console

from pipeline import bundle as bundles
from pipeline import command
from pipeline.bundle import BundleError, Card
from pipeline.settings import SettingsError, load_settings

CHAMPION = "champion"
REQUIREMENTS = {"onnx": "serve", "sklearn": "serve-sklearn"}
SHOWN_LINES = 30  # of the output of a build that failed
STEP = re.compile(r"#\d+ (\[.+?\] .+)")  # "#8 [service 4/9] COPY serving /app/serving"
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
REPOSITORY = re.compile(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")

console = Console(highlight=False, soft_wrap=True)


class ImageError(RuntimeError):
    """The image cannot be built or looked up; the message says why and what to do."""


def labels(card: Card, description: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The OCI labels: who the model is and where it comes from. What is not known is left out."""
    server, repository = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_REPOSITORY", "")
    known = {
        "org.opencontainers.image.title": card.name,
        "org.opencontainers.image.description": description,
        "org.opencontainers.image.version": card.version,
        "org.opencontainers.image.revision": card.git_sha,
        "org.opencontainers.image.created": card.created,
        "org.opencontainers.image.source": f"{server}/{repository}" if server and repository else "",
        "mlops.model": card.name,
        "mlops.version": card.version,
        "mlops.run-id": card.run_id,
        "mlops.bundle-sha256": card.bundle_sha256,
    }
    return {key: value for key, value in known.items() if value}


def arguments_of_build(card: Card, python: str, image: str, push: bool, cache: str) -> list[str]:
    """What `docker buildx build` is told, less the labels and the folder."""
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
    ]


def checked_repository(given: str) -> str:
    """A repository's name in lower case, as registries want it. Raises ImageError where it is none."""
    repository = given.lower()
    if not REPOSITORY.fullmatch(repository):
        raise ImageError(f"--push {given}: give registry and path without a tag, as in ghcr.io/owner/project")
    return repository


def read_card(root: Path) -> tuple[Card, str]:
    """The card of bundle/ and the project's description. Raises BundleError, SettingsError or ImageError."""
    card, project = bundles.read(root / "bundle").card, load_settings(root).project
    if card.name != project.name:
        raise ImageError(f"bundle/ is of {card.name}, but pipeline.toml names {project.name}; run `make train`")
    if bundles.code_digest(root / "src" / "model") != card.code_sha256:
        raise ImageError("src/model has changed since bundle/ was trained; run `make train`")
    return card, project.description


def check_docker() -> None:
    """Raises ImageError where Docker, its engine or buildx is missing."""
    if shutil.which("docker") is None:
        raise ImageError("there is no `docker` on PATH; install Docker, or do without an image: `make serve`")
    if (engine := _docker("version", "--format", "{{.Server.Version}}")).returncode:
        raise ImageError(f"Docker's engine does not answer ({_last_line(engine)}); start it")
    if _docker("buildx", "version").returncode:
        raise ImageError("Docker has no buildx; install its plugin (docker-buildx, or docker-buildx-plugin)")


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
        raise ImageError(f"the build of {image} failed; its last lines are above")


def champion(repository: str) -> str:
    """The image, by digest, behind the tag champion of a repository; empty where there is no such tag.

    Raises ImageError where the registry cannot be asked: a champion that is there must not be overlooked.
    """
    reference = f"{repository}:{CHAMPION}"
    found = _docker("buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", reference)
    if found.returncode == 0:
        manifest = json.loads(found.stdout)
        images = manifest.get("manifests", [])
        # Older versions of buildx set a tag on an index of their own around the one image that they were given.
        return f"{repository}@{images[0]['digest'] if len(images) == 1 else manifest['digest']}"
    if f"{reference}: not found" in found.stderr:
        return ""
    raise ImageError(f"{reference} cannot be looked up ({_last_line(found)})")


def make(root: Path, push: str, tag: str, cache: str) -> str:
    """Builds the image of the project in `root`, notes it in .mlops/image.json, and returns one line on it."""
    note = root / ".mlops" / "image.json"
    note.unlink(missing_ok=True)
    card, description = read_card(root)
    python = (root / ".python-version").read_text().strip()
    repository, tag = checked_repository(push) if push else card.name, tag or card.version
    if not TAG.fullmatch(tag):
        raise ImageError(f"--tag {tag}: a tag has letters, digits, dots, dashes and underscores, at most 128")
    check_docker()
    image = f"{repository}:{tag}"
    if cache and _driver() == "docker":
        cache = ""  # it keeps its layers itself, and can export none
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder, "metadata.json")
        options = arguments_of_build(card, python, image, bool(push), cache)
        options += [f"--label={key}={value}" for key, value in labels(card, description, os.environ).items()]
        build(image, [*options, f"--metadata-file={metadata}"], root)
        digest = json.loads(metadata.read_text()).get("containerimage.digest", "") if push else ""
    if push:
        if not digest:
            raise ImageError(f"{image} was pushed, but buildx did not say under which digest; use a newer buildx")
        made = {"image": f"{repository}@{digest}", "id": digest, "champion": champion(repository)}
        line = f"Pushed {image}, {digest}."
    else:
        identifier, size = _docker("image", "inspect", "--format", "{{.Id}} {{.Size}}", image).stdout.split()
        made = {"image": image, "id": identifier, "champion": ""}
        line = f"Built {image}, {int(size) / 1e6:.0f} MB with its base python:{python}-slim."
    note.parent.mkdir(exist_ok=True)
    note.write_text(json.dumps(made, indent=2) + "\n")
    return line


def _driver() -> str:
    """How the current builder of buildx works, such as docker or docker-container."""
    found = re.search(r"^Driver:\s*(\S+)", _docker("buildx", "inspect").stdout, re.MULTILINE)
    return found[1] if found else ""


def _docker(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True, errors="replace")


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    return (done.stderr.strip().splitlines() or ["no message"])[-1]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.image", description="Build the image that serves bundle/."
    )
    parser.add_argument("--push", default="", metavar="REPOSITORY", help="push there, such as ghcr.io/owner/project")
    parser.add_argument("--tag", default="", help="instead of the model's version")
    parser.add_argument(
        "--cache", default="", metavar="REFERENCE", help="an image of the registry that keeps the layers between builds"
    )
    given = parser.parse_args(argv)
    try:
        line = make(Path.cwd(), given.push, given.tag, given.cache)
    except (BundleError, SettingsError, ImageError, OSError) as error:
        console.print(f"Cannot build the image: {error}", style="red", markup=False)
        return 3
    console.print(line, markup=False)
    return 0


if __name__ == "__main__":
    command.end(main)
