"""Whose a container is: nothing ends it with a gate that is killed, so a later run has to know."""

import platform
from pathlib import Path

import psutil


def owner(pid: int) -> str:
    """A process, by a name that none has after it; empty where there is no such process."""
    try:  # the start as the kernel counts it: that of the wall clock changes when the clock is set right
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
        try:
            start = f"{psutil.Process(pid).create_time():.0f}"
        except psutil.Error:
            return ""
    return f"{_here()}/{pid}/{start}"


def gone(name: str) -> bool:
    """Whether a process that `owner` named is no more. One that cannot be seen from here is not known to be."""
    here, _, pid = name.rpartition("/")[0].rpartition("/")
    return here == _here() and pid.isdecimal() and owner(int(pid)) != name


def _here() -> str:
    """This machine, and which of the numberings of processes that it may have."""
    namespace = Path("/proc/self/ns/pid")
    return f"{platform.node()}/{namespace.readlink() if namespace.is_symlink() else ''}"
