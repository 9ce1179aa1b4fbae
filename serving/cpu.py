"""How many CPUs this process may use: the affinity mask, and the quota of its control group (v1 and v2)."""

import math
import os
from pathlib import Path


def available(root: Path = Path("/")) -> int:
    """CPUs to plan workers for, at least 1. `root` is where /proc and /sys are."""
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return max(1, min(mask, math.ceil(quota))) if quota else mask


def _quota(root: Path) -> float | None:
    """The tightest quota on the way from this process's group up to the top, in CPUs; None where there is none."""
    quotas = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        here = top / group.lstrip("/")
        # In a container the group's path may be the host's; what is mounted is then the container's own group.
        for folder in {here, *here.parents, top}:
            if folder.is_relative_to(top):
                quotas.append(_quota_v1(folder) if controllers else _quota_v2(folder))
    known = [quota for quota in quotas if quota]
    return min(known) if known else None


def _quota_v2(folder: Path) -> float | None:
    parts = _read(folder / "cpu.max").split()
    return int(parts[0]) / int(parts[1]) if len(parts) == 2 and parts[0] != "max" else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
