"""Which baseline a candidate gets where none is named."""

import json
import subprocess
from pathlib import Path

import pytest

from perf.arms.arm import ArmError, Cpus
from perf.arms.specs import arms
from perf.baseline import Sides, choose

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
    with pytest.raises(ArmError, match=r"python -m release\.champion"):
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


def base(root: Path, image: str = "", directory: str = ".mlops/base") -> None:
    """A note of what BASE=main named, beside a champion that is another one."""
    champion(root, "ghcr.io/o/r:champion")
    note = {"base": "main", "what": "main, commit 0123456", "image": image, "directory": directory}
    (root / ".mlops" / "base.json").write_text(json.dumps(note))


@pytest.fixture(name="engine_with")
def _engine_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A `docker` on PATH that has one image, whose name is returned, of the bundle b1."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase "$*" in "image inspect"*an/image:1) echo b1;; *) echo "no such image" >&2; exit 1;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    return "an/image:1"


NOTED = "Compared with main, commit 0123456, not the champion."


def test_a_base_takes_the_champions_place(standin: Path, tmp_path: Path, engine_with: str) -> None:
    """In the form that the candidate has, and the report says what it is."""
    base(tmp_path, engine_with)
    assert choose(str(standin), tmp_path, "main") == Sides(str(standin), str(tmp_path / ".mlops" / "base"), NOTED)
    assert choose("service:8001", tmp_path, "main") == Sides("service:8001", engine_with, NOTED)
    assert choose(str(standin), tmp_path).baseline == str(tmp_path / ".mlops" / "champion")


def test_a_base_without_an_image_is_compared_from_folders(tmp_path: Path, engine_with: str) -> None:
    """As a champion without one is, and that is said as well."""
    base(tmp_path)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "card.json").write_text('{"bundle_sha256": "b1"}')
    found = choose(engine_with, tmp_path, "main")
    assert (found.candidate, found.baseline, found.image) == (
        str(tmp_path),
        str(tmp_path / ".mlops" / "base"),
        engine_with,
    )
    assert (
        found.note == f"{NOTED} There is no image of main (none was built), so both arms are processes, from folders."
    )


def test_an_image_as_base_wants_an_image(standin: Path, tmp_path: Path, engine_with: str) -> None:
    """There is no folder of it, so a candidate that is one cannot be compared; nor if the image went meanwhile."""
    base(tmp_path, engine_with, directory="")
    with pytest.raises(ArmError, match=r"main is an image and .* a folder; with ARMS=container"):
        choose(str(standin), tmp_path, "main")
    assert choose("an/image:1", tmp_path, "main").baseline == engine_with
    (tmp_path / ".mlops" / "base.json").unlink()
    with pytest.raises(ArmError, match="make perf BASE='HEAD~1 x' writes it"):
        choose(str(standin), tmp_path, "HEAD~1 x")
