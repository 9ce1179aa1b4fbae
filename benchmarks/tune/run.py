"""How long `make tune` takes with 1, 2 and 4 workers of Dask, and on this machine without: the sample, the same search.

    python -m benchmarks.tune.run [--write]      --write puts the table into benchmarks/tune.md

Each worker has one thread and is a process of its own, with a scheduler beside them. Runs are in a random order,
several of each kind; what counts is the rounds of the search, without the start of Python.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import sections
from benchmarks.gate.recorded import machine
from benchmarks.tables.sources import CACHE, ROOT
from pipeline.settings import load_settings
from release.demo import environment_of, lay_out

COMMAND = "make bench-tune"
KINDS = ("no cluster", "1", "2", "4")  # workers
TIMES = 3
TRIALS = 27
STEP = re.compile(r"^  (?:round|compare).* (\d+\.\d) s$", re.MULTILINE)
DASK = [sys.executable, "-m", "dask"]


@contextlib.contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """The address of a scheduler with so many workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    common = ["--host=127.0.0.1", "--no-dashboard"]
    commands = [[*DASK, "scheduler", f"--port={port}", *common]]
    commands += [[*DASK, "worker", address, "--nthreads=1", "--no-nanny", *common]] * workers
    with (folder / "dask.log").open("w") as log:
        started = [subprocess.Popen(each, cwd=folder, stdout=log, stderr=log) for each in commands]
    try:
        until = time.monotonic() + 60
        while (folder / "dask.log").read_text().count("Registered to") < workers:
            if time.monotonic() > until:
                raise SystemExit((folder / "dask.log").read_text())
            time.sleep(0.5)
        yield address
    finally:
        for process in started:
            process.kill()
            process.wait()


def searched(project: Path, kind: str) -> tuple[float, str]:
    """Seconds of one search, and what it found."""
    environment = environment_of(os.environ, project, "tune")
    with contextlib.ExitStack() as stack:
        if kind != "no cluster":
            address = stack.enter_context(cluster(project.parent, int(kind)))
            environment |= {"MLOPS_TRAINING__BACKEND": "dask", "DASK_SCHEDULER_ADDRESS": address}
        done = subprocess.run(
            [sys.executable, "-m", "training.tune", f"--trials={TRIALS}"],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    *_, last = steps = list(STEP.finditer(done.stdout))
    return sum(float(each[1]) for each in steps), done.stdout[last.end() :]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune.run", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="into benchmarks/tune.md")
    arguments = parser.parse_args()
    folder = CACHE / "tune"
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(ROOT, load_settings(ROOT, {}).data.path, folder / "project")
    runs = [kind for kind in KINDS for _ in range(TIMES)]
    random.Random(7).shuffle(runs)  # noqa: S311
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    found = set()
    for number, kind in enumerate(runs, 1):
        seconds, said = searched(folder / "project", kind)
        took[kind].append(seconds)
        found.add(said)
        print(f"{number} of {len(runs)}: {kind}: {seconds:.1f} s", flush=True)
    if len(found) != 1:
        raise SystemExit(f"the searches differ in what they found: {found}")
    one = statistics.median(took["1"])
    rows = []
    for kind, seconds in took.items():
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.1f} … {max(seconds):.1f}"
        rows.append([kind, f"{middle:.1f}", spread, f"{one / middle:.2f}"])
    text = f"On {machine()}, on {time.strftime('%Y-%m-%d')}. {TRIALS} candidates, {TIMES} runs of each kind.\n\n"
    text += sections.table(("workers", "seconds", "least … most", "times as fast as 1"), rows) + "\n"
    print(text)
    if arguments.write:
        sections.write(ROOT / "benchmarks" / "tune.md", COMMAND, text)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
