"""The trained project's image, and containers that are gone after the test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .containers import Container, boot, build, buildable, docker


@pytest.fixture(name="make_image", scope="session")
def _make_image(engine: None) -> Iterator[Callable[[Path], str]]:
    """Builds the image of a project; it is gone after the tests."""
    made: list[str] = []

    def make(project: Path) -> str:
        made.append(build(project, f"test-{os.getpid()}-{len(made)}"))
        return made[-1]

    yield make
    for image in made:
        docker("rmi", "--force", image)


@pytest.fixture(name="image", scope="session")
def _image(make_image: Callable[[Path], str], trained: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of the trained project."""
    return make_image(buildable(trained, tmp_path_factory.mktemp("image") / "project"))


@pytest.fixture(name="start")
def _start(engine: None) -> Iterator[Callable[..., Container]]:
    """Starts a container that is ready, unless `wait` says otherwise; it is gone after the test."""
    started: list[str] = []

    def start(image: str, *options: str, wait: bool = True, **variables: str) -> Container:
        container = boot(image, *options, **variables)
        started.append(container.id)
        if wait:
            container.wait_until_ready()
        return container

    yield start
    for container in started:
        docker("rm", "--force", "--volumes", container)
