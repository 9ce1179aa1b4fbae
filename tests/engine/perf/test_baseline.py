"""Which baseline a candidate gets where none is named on the command line."""

import subprocess
from pathlib import Path

import pytest

from perf.arms.arm import ArmError, Cpus
from perf.arms.specs import Sides, arms, choose, refused
from pipeline import notes
from pipeline.notes import Baseline, NoteError
from training.quality.report import Model

UNPINNED = Cpus(None, None, 1)


def champion(root: Path, image: str) -> None:
    notes.write(root, Baseline("", "version 3", image, ".mlops/baseline"))


def test_without_a_champion_there_is_no_baseline(tmp_path: Path) -> None:
    """The first version is judged by the absolute limits."""
    assert choose("ghcr.io/o/r:1", tmp_path) == Sides("ghcr.io/o/r:1", "none")


@pytest.mark.parametrize("image", ["", "ghcr.io/o/r:champion"])
def test_a_folder_meets_the_champions_folder(standin: Path, tmp_path: Path, image: str) -> None:
    """Whether the champion has an image or not."""
    champion(tmp_path, image)
    assert choose(str(standin), tmp_path) == Sides(str(standin), str(tmp_path / ".mlops" / "baseline"))


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
    (tmp_path / Baseline.path).write_text("{")
    with pytest.raises(NoteError, match=r"python -m release\.baseline"):
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
    assert (found.candidate, found.baseline) == (str(tmp_path), str(tmp_path / ".mlops" / "baseline"))
    assert found.image == labelled  # so that its promotion still has an image
    assert why in found.note
    with pytest.raises(ArmError, match=f"no image of the champion .*{why}"):
        choose(standin_image, tmp_path)


def test_a_folder_keeps_the_name_of_its_image(standin: Path, tmp_path: Path) -> None:
    """What was measured from its folder is promoted with its image."""
    candidate, _ = arms(str(standin), "none", {}, UNPINNED, tmp_path, image="an/image:1")
    assert candidate.identity()["image"] == "an/image:1"


def base(root: Path, image: str = "", folder: str = ".mlops/baseline") -> None:
    """A note of what BASE=main named."""
    notes.write(root, Baseline("main", "main, commit 0123456", image, folder))


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
    folder = str(tmp_path / ".mlops" / "baseline")
    assert choose(str(standin), tmp_path) == Sides(str(standin), folder, NOTED, base="main")
    assert choose("service:8001", tmp_path) == Sides("service:8001", engine_with, NOTED, base="main")


def test_a_base_without_an_image_is_compared_from_folders(tmp_path: Path, engine_with: str) -> None:
    """As a champion without one is, and that is said as well."""
    base(tmp_path)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "card.json").write_text('{"bundle_sha256": "b1"}')
    found = choose(engine_with, tmp_path)
    assert (found.candidate, found.baseline, found.image) == (
        str(tmp_path),
        str(tmp_path / ".mlops" / "baseline"),
        engine_with,
    )
    assert found.note == f"{NOTED} There is no image of main (none was built), so both run as processes, from folders."


def test_an_image_as_base_wants_an_image(standin: Path, tmp_path: Path, engine_with: str) -> None:
    """There is no folder of it, so a candidate that is one cannot be compared."""
    base(tmp_path, engine_with, folder="")
    with pytest.raises(ArmError, match=r"main is an image and .* a folder; with DOCKER=yes"):
        choose(str(standin), tmp_path)
    assert choose("an/image:1", tmp_path).baseline == engine_with


def test_a_model_that_was_refused_is_not_what_is_measured(tmp_path: Path) -> None:
    """bundle/ holds the one before it then, which a reader of the verdict has to know."""
    assert refused(tmp_path) == ""
    notes.write(tmp_path, Model(passed=True, sentence="r2 is 0.5"))
    assert refused(tmp_path) == ""
    notes.write(tmp_path, Model(passed=False, sentence="r2 is 0.1, 0.2 below the floor of 0.3"))
    assert "was refused: r2 is 0.1, 0.2 below the floor of 0.3. Measured is the one before" in refused(tmp_path)
