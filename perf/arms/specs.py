"""Which kind of arm a name on the command line means."""

from collections.abc import Mapping
from pathlib import Path

from perf.arms.arm import Arm, ArmError, Cpus, Kind, Role, environment_of
from perf.arms.containers import AttachedArm, ContainerArm
from perf.arms.processes import ProcessArm


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
