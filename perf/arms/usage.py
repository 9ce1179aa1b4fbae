"""What an arm has used of the machine, CPU time since its start and memory now, and what others have.

CPU time hardly hears the noise that latency is full of, so it is the steadier signal, though not the one that users
feel. A container is asked by way of the engine's API, which costs the container nothing; `docker exec` would.
"""

import contextlib
import http.client
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil


class Usage(NamedTuple):
    cpu_seconds: float  # user and system, of all processes of the arm
    memory_mb: float  # without file caches; what processes share is counted once where the system can tell


def of_processes(leader: int) -> Usage | None:
    """Of a process and its children; None where it is gone or belongs to somebody else."""
    cpu, memory = 0.0, 0
    try:
        process = psutil.Process(leader)
        for each in [process, *process.children(recursive=True)]:
            info = each.memory_full_info()
            cpu += _cpu_seconds(each)
            memory += getattr(info, "pss", info.uss)  # Linux alone knows PSS
    except (psutil.Error, OSError):
        return None
    return Usage(cpu, memory / 1e6)


def _cpu_seconds(process: psutil.Process) -> float:
    if sys.platform == "linux":  # by the process's own clock, in ns (clock_getcpuclockid(3)): /proc has ticks of 10 ms
        return time.clock_gettime((~process.pid << 3) | 2)
    times = process.cpu_times()
    return float(times.user + times.system)


def of_container(container: str) -> Usage | None:
    """Of a container; None where the engine cannot be asked or does not say.

    No version of the API is named: engines refuse old ones in time, and these fields are in all of them.
    """
    path = f"/containers/{container}/stats?stream=false&one-shot=true"
    try:
        stats: Any = json.loads(_ask_engine(path))
        counted, memory = stats["cpu_stats"]["cpu_usage"]["total_usage"], stats["memory_stats"]["stats"]
        anonymous = memory.get("anon", memory.get("total_rss", memory.get("rss")))  # cgroup 2, else 1
        return Usage(counted / 1e9, anonymous / 1e6)
    except (OSError, subprocess.SubprocessError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None


def _ask_engine(path: str) -> bytes:
    """GET of the engine's API, by its socket. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection("engine", timeout=10)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection.sock:
        connection.sock.settimeout(10)
        connection.sock.connect(_engine_socket())
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != 200:
        raise http.client.HTTPException(f"{answer.status}: {body[:200]!r}")
    return body


def _engine_socket() -> str:
    host = os.environ.get("DOCKER_HOST", "")
    if not host:
        show = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
        done = subprocess.run(show, check=False, capture_output=True, text=True, timeout=10)
        host = done.stdout.strip() or "unix:///var/run/docker.sock"
    if not host.startswith("unix://"):
        raise OSError(f"{host} is no socket of this machine")
    return host.removeprefix("unix://")


def cpu_ticks() -> list[int] | None:
    """The counters of all CPUs together, in the order of /proc/stat; None where there is no such file."""
    stat = Path("/proc/stat")
    return [int(n) for n in stat.read_text().split("\n", 1)[0].split()[1:9]] if stat.is_file() else None


def by_others(
    before: list[int] | None, after: list[int] | None, client: float, arms: Sequence[tuple[Usage | None, Usage | None]]
) -> float | None:
    """The share of the CPUs that others used between two readings.

    client: seconds of CPU time that the load generator took; arms: what each had used before, and afterwards.
    """
    own = [(last.cpu_seconds - first.cpu_seconds) if first and last else math.nan for first, last in arms]
    if before is None or after is None or not all(seconds >= 0 for seconds in own):
        return None
    spent = [b - a for a, b in zip(before, after, strict=True)]
    busy = sum(spent[n] for n in (0, 1, 2, 5, 6)) / os.sysconf("SC_CLK_TCK")
    total = sum(spent) / os.sysconf("SC_CLK_TCK")
    return max(0.0, busy - client - sum(own)) / total if total > 0 else 0.0


def stolen(before: list[int] | None, after: list[int] | None) -> float | None:
    """The share of the time between two readings that the host gave to others."""
    if before is None or after is None:
        return None
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return max(0, spent[7]) / sum(spent) if sum(spent) > 0 else 0.0  # a guest's counters may run back when it is moved
