"""The image of every Python that a project may choose and for which a base image can be had everywhere we test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .containers import HARDENED, Container, buildable, difference_from_scikit_learn, size_over_base

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("engine")]  # asked for first, before anything is trained


@pytest.mark.parametrize("python", ["3.11", "3.13", "3.14"])
def test_it_serves_on(
    python: str, trained: Path, tmp_path: Path, make_image: Callable[[Path], str], start: Callable[..., Container]
) -> None:
    """Built from that base it boots read-only in two seconds, gets healthy, answers like scikit-learn; it is small."""
    image = make_image(buildable(trained, tmp_path / "project", python))
    container = start(image, *HARDENED, wait=False)
    assert container.wait_until_ready() <= 2
    container.wait_until_healthy()
    assert container.python("import sys; print('%d.%d' % sys.version_info[:2])") == python
    assert difference_from_scikit_learn(container, trained, 200) <= 1e-6
    assert size_over_base(image, python) <= 350e6
