"""release.repository: names of images, and what a registry says of the champion.

Here Docker is a script that says what the real one was seen to say.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from release.repository import ImageError, Lookup, canonical, champion, look_up, point

DIGEST = "sha256:" + "9f148854" * 8
INDEX = "sha256:" + "9bdc1211" * 8


@pytest.mark.parametrize(
    ("given", "repository"),
    [
        ("ghcr.io/Acme.Inc/Loan-Default", "ghcr.io/acme.inc/loan-default"),
        ("127.0.0.1:5000/a/b_c/d", "127.0.0.1:5000/a/b_c/d"),
        ("ghcr.io/Acme/My.-_Loans", "ghcr.io/acme/my-loans"),
        ("ghcr.io/Acme-/.Loans--2__b_", "ghcr.io/acme/loans--2__b"),
    ],
)
def test_a_name_of_github_becomes_one_of_a_registry(given: str, repository: str) -> None:
    """GitHub's names may have capitals, and separators where a registry takes none."""
    assert canonical(given) == repository


@pytest.mark.parametrize(
    "given", ["loans", "ghcr.io/a/b:1", "ghcr.io/a/b@sha256:00", "https://ghcr.io/a/b", "ghcr.io/-/a"]
)
def test_what_is_no_repository_is_refused(given: str) -> None:
    """A tag or a digest would be one too many."""
    with pytest.raises(ImageError, match="without a tag"):
        canonical(given)


def test_the_champion_is_found_by_digest(docker: Callable[[str], None]) -> None:
    """The image itself, also where buildx set the tag on an index around it."""
    docker(f"""echo '{{"digest": "{INDEX}", "manifests": [{{"digest": "{DIGEST}"}}]}}'""")
    assert champion("ghcr.io/acme/loans") == f"ghcr.io/acme/loans@{DIGEST}"
    docker(f"""echo '{{"digest": "{INDEX}", "manifests": [{{"digest": "{DIGEST}"}}, {{"digest": "sha256:00"}}]}}'""")
    assert champion("ghcr.io/acme/loans") == f"ghcr.io/acme/loans@{INDEX}"


def test_no_champion_is_not_a_registry_that_fails(docker: Callable[[str], None]) -> None:
    """An unreachable registry must never look like a first run, which has no baseline to be compared with."""
    docker("echo 'ERROR: ghcr.io/acme/loans:champion: not found' >&2; exit 1")
    assert champion("ghcr.io/acme/loans") == ""
    for failure in ("dial tcp 10.0.0.1:443: connect: connection refused", "dial tcp: lookup ghcr.io: host not found"):
        docker(f"echo 'ERROR: failed to do request: {failure}' >&2; exit 1")
        for ask in (champion, look_up):
            with pytest.raises(ImageError, match="cannot be looked up"):
                ask("ghcr.io/acme/loans")


@pytest.mark.parametrize(
    "answer",
    ["denied: requested access to the resource is denied", "unexpected status: 403 Forbidden", "name unknown"],
)
def test_a_registry_that_shows_nothing_is_told_apart(docker: Callable[[str], None], answer: str) -> None:
    """GitHub's says so of a package that nobody has pushed yet; who has just pushed must not be told that."""
    docker(f"echo 'ERROR: {answer}' >&2; exit 1")
    assert look_up("ghcr.io/acme/loans") == Lookup("", f"ERROR: {answer}")
    with pytest.raises(ImageError, match="cannot be looked up"):
        champion("ghcr.io/acme/loans")


def test_the_tag_is_read_back(docker: Callable[[str], None], tmp_path: Path) -> None:
    """Set on the image by its digest, after a tag for its version; what the registry then says is believed.

    Not both at once: a registry that writes one's manifest while it is asked for the other's answered with 500.
    """
    image = f"ghcr.io/acme/loans@{DIGEST}"
    docker(f"""[ "$3" = inspect ] && echo '{{"digest": "{DIGEST}"}}' || echo "$*" >>{tmp_path}/asked""")
    point(image, "7")
    asked = [f"buildx imagetools create --tag=ghcr.io/acme/loans:{tag} {image}" for tag in ("champion-7", "champion")]
    assert (tmp_path / "asked").read_text().splitlines() == asked
    docker(f"""echo '{{"digest": "{INDEX}"}}'""")
    with pytest.raises(ImageError, match="although it was just set"):
        point(image, "7")
    docker("echo 'ERROR: 403 Forbidden' >&2; exit 1")
    with pytest.raises(ImageError, match="cannot be set"):
        point(image, "7")
