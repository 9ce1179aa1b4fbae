"""release.repository: names of images, and what a registry says of the champion.

Here Docker is a script that says what the real one was seen to say.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from release.repository import ImageError, Lookup, canonical, champion, labels, look_up, point
from tests.engine.conftest import ROOT

DIGEST = "sha256:" + "9f148854" * 8
INDEX = "sha256:" + "9bdc1211" * 8


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("ghcr.io/Acme.Inc/Loan-Default", "ghcr.io/acme.inc/loan-default"),
        ("127.0.0.1:5000/a/b_c/d", "127.0.0.1:5000/a/b_c/d"),
        ("ghcr.io/Acme/My.-_Loans", "ghcr.io/acme/my-loans"),
        ("ghcr.io/Acme-/.Loans--2__b_", "ghcr.io/acme/loans--2__b"),
        ("ghcr.io/acme/-", "ghcr.io/acme/image"),
    ],
)
def test_a_name_of_github_becomes_one_of_a_registry(name: str, repository: str) -> None:
    """GitHub's names may have capitals, and separators where a registry takes none."""
    assert canonical(name) == repository


# As GitHub takes them: https://docs.github.com/en/rest/repos/repos, and what its forms refuse.
OWNERS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38}(_[a-z0-9]{1,8})?", fullmatch=True)
NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,100}", fullmatch=True).filter(lambda name: name not in (".", ".."))
# https://github.com/distribution/reference/blob/main/reference.go, and its largest number of characters in a name
TAKEN = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
LARGEST = 255


@given(OWNERS, NAMES)
def test_any_owner_and_any_name_of_github_can_be_pushed(owner: str, name: str) -> None:
    """By the grammar of registries, whatever capitals, dots and underscores there are, and however long."""
    repository = canonical(f"ghcr.io/{owner}/{name}")
    assert TAKEN.fullmatch(repository.partition("/")[2])
    assert len(repository) <= LARGEST
    assert canonical(repository) == repository


def test_nothing_else_makes_references() -> None:
    """What puts a repository and a tag together by itself forgets that GitHub's names are no registry's."""
    for path in sorted((ROOT / "release").rglob("*.py")):
        if path.name != "repository.py":
            found = re.findall(r"\{\w*(?:repository|images)\}[:@]", path.read_text(encoding="utf-8"))
            assert found == [], path


def test_the_labels_are_read_without_a_pull(docker: Callable[[str], None]) -> None:
    """Of one image, and of the one beside an SBOM, which has a configuration of its own."""
    config = '{"config": {"Labels": {"mlops.version": "7"}}}'
    docker(f"echo '{config}'")
    assert labels(f"ghcr.io/acme/loans@{DIGEST}") == {"mlops.version": "7"}
    docker(f"""echo '{{"linux/amd64": {config}, "unknown/unknown": {{"config": {{}}}}}}'""")
    assert labels(f"ghcr.io/acme/loans@{DIGEST}") == {"mlops.version": "7"}
    docker("echo '{\"config\": {}}'")
    assert labels(f"ghcr.io/acme/loans@{DIGEST}") == {}


@pytest.mark.parametrize(
    "name", ["loans", "ghcr.io/a/b:1", "ghcr.io/a/b@sha256:00", "https://ghcr.io/a/b", "ghcr.io/a//b"]
)
def test_what_is_no_repository_is_refused(name: str) -> None:
    """A tag or a digest would be one too many."""
    with pytest.raises(ImageError, match="without a tag"):
        canonical(name)


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
