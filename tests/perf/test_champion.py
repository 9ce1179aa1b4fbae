"""Which baseline a candidate gets where none is named."""

import json
import subprocess
from pathlib import Path

import pytest

from perf.arm import ArmError, Cpus
from perf.arms import arms
from perf.champion import Sides, choose

UNPINNED = Cpus(None, None, 1)


def champion(root: Path, image: str) -> None:
    (root / ".mlops").mkdir()
    note = {"name": "n", "version": "3", "image": image, "directory": ".mlops/champion"}
    (root / ".mlops" / "champion.json").write_text(json.dumps(note))


def test_without_a_champion_there_is_no_baseline(tmp_path: Path) -> None:
    """The first version is judged by the absolute limits."""
    assert choose("ghcr.io/o/r:1", tmp_path) == Sides("ghcr.io/o/r:1", "none")


@pytest.mark.parametrize("image", ["", "ghcr.io/o/r:champion"])
def test_a_folder_meets_the_champions_folder(standin: Path, tmp_path: Path, image: str) -> None:
    """Whether the champion has an image or not."""
    champion(tmp_path, image)
    assert choose(str(standin), tmp_path) == Sides(str(standin), str(tmp_path / ".mlops" / "champion"))


@pytest.mark.docker
@pytest.mark.parametrize("candidate", ["ghcr.io/o/r:2", "service:8001"])
def test_a_container_meets_the_champions_image(standin_image: str, tmp_path: Path, candidate: str) -> None:
    """Never its folder, where it has an image."""
    champion(tmp_path, standin_image)
    assert choose(candidate, tmp_path) == Sides(candidate, standin_image)


def test_a_service_does_not_meet_a_folder(tmp_path: Path) -> None:
    """The message has the way out."""
    champion(tmp_path, "")
    with pytest.raises(ArmError, match=r"promoted without one.* or --baseline none"):
        choose("service:8001", tmp_path)


def test_a_note_that_is_damaged_says_so(standin: Path, tmp_path: Path) -> None:
    """A champion that is there but cannot be read is not taken for none."""
    champion(tmp_path, "")
    (tmp_path / ".mlops" / "champion.json").write_text("{")
    with pytest.raises(ArmError, match=r"python -m training\.champion"):
        choose(str(standin), tmp_path)


def test_a_folder_and_a_container_are_not_compared(standin: Path, tmp_path: Path) -> None:
    """Named by hand too, before anything is started."""
    with pytest.raises(ArmError, match="Name two folders or two containers"):
        arms(str(standin), "service:8001", {}, UNPINNED, tmp_path)
    with pytest.raises(ArmError, match="Name two folders or two containers"):
        arms("an/image:1", str(standin), {}, UNPINNED, tmp_path)
    assert arms("an/image:1", "none", {}, UNPINNED, tmp_path)[1] is None
    assert arms("an/image:1", "service:8001", {}, UNPINNED, tmp_path)[1] is not None


@pytest.mark.docker
@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("", "promoted without one"),
        (f"sha256:{'0' * 64}", "here no more"),
        ("127.0.0.1:1/nobody/nothing:none", "`docker pull` failed: "),
    ],
    ids=["none", "pruned", "unreachable"],
)
def test_a_champion_without_an_image_meets_the_projects_folder(
    standin_image: str, tmp_path: Path, image: str, why: str
) -> None:
    """If the image holds the bundle of this project both are measured from their folders; another image is refused."""
    champion(tmp_path, image)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "card.json").write_text('{"bundle_sha256": "b1"}')
    labelled = f"{standin_image}-labelled"
    recipe = f"FROM {standin_image}\nLABEL mlops.bundle-sha256=b1\n"
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", labelled, "-"], input=recipe.encode(), capture_output=True, check=True
    )
    try:
        found = choose(labelled, tmp_path)
    finally:
        subprocess.run(["docker", "rmi", "--force", labelled], capture_output=True, check=True)
    assert (found.candidate, found.baseline) == (str(tmp_path), str(tmp_path / ".mlops" / "champion"))
    assert found.image == labelled  # so that its promotion still has an image
    assert why in found.note
    with pytest.raises(ArmError, match=f"no image of the champion .*{why}"):
        choose(standin_image, tmp_path)


def test_a_folder_keeps_the_name_of_its_image(standin: Path, tmp_path: Path) -> None:
    """What was measured from its folder is promoted with its image."""
    candidate, _ = arms(str(standin), "none", {}, UNPINNED, tmp_path, image="an/image:1")
    assert candidate.identity()["image"] == "an/image:1"
