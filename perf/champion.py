"""Which baseline suits a candidate, where none was named: the champion, in the form that the candidate has.

A container against a process is no comparison: what a container's network costs made the p95 of equal code 15 % slower.
"""

import json
from pathlib import Path
from typing import NamedTuple

from perf.arm import ArmError
from perf.arms import kind_of
from perf.containers import docker, missing

NOTE = Path(".mlops/champion.json")
LABEL = "mlops.bundle-sha256"  # that an image of ours has


class Sides(NamedTuple):
    candidate: str
    baseline: str  # "none": there is no champion
    note: str = ""
    image: str = ""  # that holds what the candidate's folder does


def choose(candidate: str, root: Path) -> Sides:
    """The candidate against the champion that `python -m training.champion` laid out in `root`. Raises ArmError."""
    kind, path = kind_of(candidate), root / NOTE
    if not path.is_file():
        return Sides(candidate, "none")
    try:
        named = json.loads(path.read_text())
        image, folder = str(named["image"]), str(root / named["directory"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ArmError(f"{path}: not what `python -m training.champion` writes; run it again.") from None
    if kind == "process":
        return Sides(candidate, folder)
    why = missing(image) if image else "it was promoted without one"
    if not why:
        return Sides(candidate, image)
    if kind == "container" and _bundle_of(candidate) == _bundle_in(root):
        note = f"There is no image of the champion ({why}), so both arms are processes, from folders."
        return Sides(str(root), folder, note, image=candidate)
    raise ArmError(
        f"There is no image of the champion ({why}) to compare {candidate} with. Name a baseline, or "
        "--baseline none to judge without."
    )


def _bundle_of(image: str) -> str:
    return docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', image).strip()


def _bundle_in(root: Path) -> str:
    try:
        return str(json.loads((root / "bundle" / "card.json").read_text())["bundle_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return "none"
