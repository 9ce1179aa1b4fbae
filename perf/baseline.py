"""Which baseline suits a candidate where no spec was named: the champion, or what BASE names, in the candidate's form.

A container against a process is no comparison: what a container's network costs made the p95 of equal code 15 % slower.
"""

import json
import shlex
from pathlib import Path
from typing import NamedTuple

from perf.arms.arm import ArmError
from perf.arms.containers import docker, missing
from perf.arms.specs import kind_of

NOTE = Path(".mlops/champion.json")
BASE = Path(".mlops/base.json")
LABEL = "mlops.bundle-sha256"  # that an image of ours has


class Sides(NamedTuple):
    candidate: str
    baseline: str  # "none": there is no champion
    note: str = ""
    image: str = ""  # that holds what the candidate's folder does


class Named(NamedTuple):
    """What a note in .mlops/ says."""

    whose: str  # for the reader
    image: str  # empty: there is none
    folder: str  # empty: there is none
    note: str = ""


def choose(candidate: str, root: Path, base: str = "") -> Sides:
    """The candidate against the champion, or against `base`, as it was laid out in `root`. Raises ArmError."""
    kind = kind_of(candidate)
    named = _base(root, base) if base else _champion(root)
    if named is None:
        return Sides(candidate, "none")
    if kind == "process" and named.folder:
        return Sides(candidate, named.folder, named.note)
    if kind == "process":
        raise ArmError(f"{named.whose} is an image and {candidate} a folder; with ARMS=container both are images.")
    why = missing(named.image) if named.image else "it was promoted without one" if not base else "none was built"
    if not why:
        return Sides(candidate, named.image, named.note)
    if kind == "container" and named.folder and _bundle_of(candidate) == _bundle_in(root):
        note = f"There is no image of {named.whose} ({why}), so both arms are processes, from folders."
        return Sides(str(root), named.folder, " ".join(filter(None, (named.note, note))), image=candidate)
    raise ArmError(
        f"There is no image of {named.whose} ({why}) to compare {candidate} with. Name a baseline, or "
        "--baseline none to judge without."
    )


def _champion(root: Path) -> Named | None:
    """The champion that `python -m release.champion` laid out; None where there is none. Raises ArmError."""
    path = root / NOTE
    if not path.is_file():
        return None
    try:
        named = json.loads(path.read_text())
        return Named("the champion", str(named["image"]), str(root / named["directory"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise ArmError(f"{path}: not what `python -m release.champion` writes; run it again.") from None


def _base(root: Path, base: str) -> Named:
    """What `python -m release.base` laid out last, which has to be `base`. Raises ArmError."""
    path = root / BASE
    try:
        named = json.loads(path.read_text())
        laid_out, image, directory, what = (str(named[key]) for key in ("base", "image", "directory", "what"))
    except (OSError, ValueError, KeyError, TypeError):
        laid_out = ""
    if laid_out != base:
        raise ArmError(f"{path} is not about {base}; make perf BASE={shlex.quote(base)} writes it.")
    return Named(base, image, str(root / directory) if directory else "", f"Compared with {what}, not the champion.")


def _bundle_of(image: str) -> str:
    return docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', image).strip()


def _bundle_in(root: Path) -> str:
    try:
        return str(json.loads((root / "bundle" / "card.json").read_text())["bundle_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return "none"
