"""Which services a command line means: by their names, or by what lies laid out where it gives none."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from perf.arms.arm import Arm, ArmError, Cpus, Kind, Role, environment_of
from perf.arms.containers import AttachedArm, ContainerArm, docker, missing
from perf.arms.processes import ProcessArm
from pipeline import notes
from pipeline.notes import Baseline
from training.quality.report import Model

LABEL = "mlops.bundle-sha256"  # that an image of ours has


class Sides(NamedTuple):
    candidate: str
    baseline: str  # "none": there is no champion
    note: str = ""
    image: str = ""  # that holds what the candidate's folder does
    base: str = ""  # what BASE named in place of the champion


def kind_of(spec: str) -> Kind:
    """What a spec names: a folder, `service:PORT` or an image. Raises ArmError where it can be none of them."""
    if spec.startswith("service:"):
        if not spec.removeprefix("service:").isdecimal():
            raise ArmError(f"{spec}: after service: comes the port on 127.0.0.1, as in service:8001.")
        return "attached"
    folder = Path(spec)
    if not folder.is_dir():
        if spec.startswith((".", "/", "~")):
            raise ArmError(f"{spec}: no such folder.")
        return "container"
    if not (folder / "serving" / "gunicorn.conf.py").is_file():
        raise ArmError(f"{spec}: holds no serving/gunicorn.conf.py, so it is no project that can be served.")
    if not (folder / "bundle").is_dir():
        raise ArmError(f"{spec}: holds no bundle/; run `make train`.")
    return "process"


def arm(spec: str, role: Role, shell: Mapping[str, str], cpus: Cpus, output: Path) -> Arm:
    """The arm that a spec names, not started. Raises ArmError."""
    kinds: dict[Kind, type[ProcessArm] | type[ContainerArm]] = {
        "process": ProcessArm,
        "container": ContainerArm,
        "attached": AttachedArm,
    }
    return kinds[kind_of(spec)](role, spec, environment_of(role, shell, cpus), cpus, output / f"{role}.log")


def arms(
    candidate: str, baseline: str, shell: Mapping[str, str], cpus: Cpus, output: Path, image: str = ""
) -> tuple[Arm, Arm | None]:
    """Both arms, the baseline None where it is "none". Raises ArmError where they cannot be compared.

    `image`: one that holds what the candidate's folder does, for the record.
    """
    first = arm(candidate, "candidate", shell, cpus, output)
    if isinstance(first, ProcessArm):
        first.image = image
    if baseline == "none":
        return first, None
    second = arm(baseline, "baseline", shell, cpus, output)
    if (first.kind == "process") != (second.kind == "process"):
        raise ArmError(
            f"{candidate} and {baseline}: one is a folder and the other a container, whose network costs more than the "
            "gate looks for. Name two folders or two containers."
        )
    return first, second


def choose(candidate: str, root: Path) -> Sides:
    """The candidate against what `python -m release.baseline` laid out in `root`, if anything was.

    Of what there is of the baseline, the form is chosen that the candidate has: what a container's network costs made
    the p95 of equal code 15 % slower than a process's. Raises ArmError or NoteError.
    """
    kind = kind_of(candidate)
    if not (root / Baseline.path).is_file():
        return Sides(candidate, "none")
    laid_out = notes.read(root, Baseline)
    base, image, folder = laid_out.base, laid_out.image, str(root / laid_out.folder) if laid_out.folder else ""
    whose, note = ("the champion", "") if not base else (base, f"Compared with {laid_out.what}, not the champion.")
    if kind == "process" and folder:
        return Sides(candidate, folder, note, base=base)
    if kind == "process":
        raise ArmError(f"{whose} is an image and {candidate} a folder; with DOCKER=yes both are images.")
    why = missing(image) if image else "none was built" if base else "it was promoted without one"
    if not why:
        return Sides(candidate, image, note, base=base)
    if kind == "container" and folder and _bundle_of(candidate) == _bundle_in(root):
        note += f" There is no image of {whose} ({why}), so both run as processes, from folders."
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


def refused(root: Path) -> str:
    """That bundle/ is not what was trained last, where the quality gate refused that; else empty."""
    try:
        quality = notes.read(root, Model)
    except notes.NoteError:
        return ""
    if quality.passed:
        return ""
    return (
        f"The model that was trained last was refused: {quality.sentence}. Measured is the one before it, in bundle/."
    )
