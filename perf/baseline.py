"""Which form of the baseline runs beside a candidate, where the command line names none: its image or its folder.

`python -m release.baseline` has laid the baseline out, and says in .mlops/baseline.json what there is of it. Here the
form that the candidate has is chosen. A container against a process is no comparison: what a container's network costs
made the p95 of equal code 15 % slower.
"""

import json
from pathlib import Path
from typing import NamedTuple

from perf.arms.arm import ArmError
from perf.arms.containers import docker, missing
from perf.arms.specs import kind_of
from pipeline import notes
from pipeline.notes import Baseline

LABEL = "mlops.bundle-sha256"  # that an image of ours has


class Sides(NamedTuple):
    candidate: str
    baseline: str  # "none": there is no champion
    note: str = ""
    image: str = ""  # that holds what the candidate's folder does
    base: str = ""  # what BASE named in place of the champion


def choose(candidate: str, root: Path) -> Sides:
    """The candidate against what was laid out in `root`, if anything was. Raises ArmError or NoteError."""
    kind = kind_of(candidate)
    if not (root / Baseline.path).is_file():
        return Sides(candidate, "none")
    laid_out = notes.read(root, Baseline)
    base, image, folder = laid_out.base, laid_out.image, str(root / laid_out.folder) if laid_out.folder else ""
    whose, note = ("the champion", "") if not base else (base, f"Compared with {laid_out.what}, not the champion.")
    if kind == "process" and folder:
        return Sides(candidate, folder, note, base=base)
    if kind == "process":
        raise ArmError(f"{whose} is an image and {candidate} a folder; with ARMS=container both are images.")
    why = missing(image) if image else "none was built" if base else "it was promoted without one"
    if not why:
        return Sides(candidate, image, note, base=base)
    if kind == "container" and folder and _bundle_of(candidate) == _bundle_in(root):
        note += f" There is no image of {whose} ({why}), so both arms are processes, from folders."
        return Sides(str(root), folder, note.strip(), candidate, base)
    raise ArmError(
        f"There is no image of {whose} ({why}) to compare {candidate} with. Name a baseline, or "
        "--baseline none to judge without."
    )


def _bundle_of(image: str) -> str:
    return docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', image).strip()


def _bundle_in(root: Path) -> str:
    try:
        return str(json.loads((root / "bundle" / "card.json").read_text())["bundle_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return "none"
