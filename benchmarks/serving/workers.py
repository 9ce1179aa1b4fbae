"""How many workers and threads are best under a limit of CPUs: the image, in containers.

    python -m benchmarks.serving.workers [--image loan-default:3] [--seconds 4] [--rounds 3] [--write]

Needs Docker on Linux, wrk, and an image (`make image`). Each round takes all of them in a new random order.
"""

import argparse
import contextlib
import json
import random
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.serving.environments import ROOT
from benchmarks.serving.run import Load, report, wrk
from benchmarks.serving.servers import body
from pipeline.settings import load_settings

READY_SECONDS = 30
Case = tuple[int, int, int]  # CPUs, workers, threads of each
CPUS, WORKERS, THREADS = (1, 2), (1, 2, 3, 4), (1, 2, 4, 8)


def newest() -> str:
    """The image that `make image` built last. Raises SystemExit where there is none."""
    name = load_settings(ROOT).project.name
    command = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", name]
    images = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if not images:
        raise SystemExit(f"No image {name}; run `make image`")
    return images[0]


@contextlib.contextmanager
def container(image: str, cpus: int, workers: int, threads: int) -> Iterator[str]:
    """The address of a container that is ready. Not a published port: Docker's proxy would take CPU as well."""
    command = ["docker", "run", "--detach", "--rm", "--read-only", "--tmpfs", "/tmp", "--cpus", str(cpus)]  # noqa: S108
    command += ["--env", f"WEB_CONCURRENCY={workers}", "--env", f"THREADS={threads}", image]
    number = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:
        inspect = ["docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", number]
        found = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()
        address, until = f"http://{found}:8000", time.monotonic() + READY_SECONDS
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/readyz", timeout=1):  # noqa: S310
                break
            if time.monotonic() > until:
                raise SystemExit(f"{image} is not ready after {READY_SECONDS} s")
            time.sleep(0.02)
        yield address
    finally:
        subprocess.run(["docker", "kill", number], capture_output=True, check=False)


def rows(results: dict[Case, list[dict[str, Load]]]) -> Iterator[list[str]]:
    yield ["CPUs", "workers", "threads", "req/s, one record", "p95 ms", "p99 ms", "rows/s, 100 at a time", "p95 ms"]
    for case, runs in sorted(results.items()):

        def middle(load: str, figure: str, runs: list[dict[str, Load]] = runs) -> float:
            return statistics.median(getattr(run[load], figure) for run in runs)

        yield [
            *map(str, case),
            *(f"{middle('one', 'rps'):,.0f}", f"{middle('one', 'p95'):.2f}", f"{middle('one', 'p99'):.2f}"),
            *(f"{100 * middle('hundred', 'rps'):,.0f}", f"{middle('hundred', 'p95'):.2f}"),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.workers", description=__doc__.split("\n")[0])
    parser.add_argument("--image", default="")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into benchmarks/serving.md")
    arguments = parser.parse_args()
    image = arguments.image or newest()
    records: list[Any] = [json.loads(line) for line in (ROOT / "bundle" / "requests.jsonl").read_text().splitlines()]
    usual = [(cpus, workers, 1) for cpus in CPUS for workers in WORKERS]
    cases = sorted({*usual, *((cpus, cpus, threads) for cpus in CPUS for threads in THREADS)})
    results: dict[Case, list[dict[str, Load]]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as scratch:
        one, hundred = Path(scratch, "one.json"), Path(scratch, "hundred.json")
        one.write_text(json.dumps(body("instances", records[:1])))
        hundred.write_text(json.dumps(body("instances", records[:100])))
        for case in track([c for _ in range(arguments.rounds) for c in random.sample(cases, len(cases))], "Measuring"):
            with container(image, *case) as address:
                url = f"{address}/predict"
                wrk(url, one, 8, 2, close=False)
                loads = {"one": wrk(url, one, 8, arguments.seconds, close=False)}
                loads["hundred"] = wrk(url, hundred, 8, arguments.seconds, close=False)
                results[case].append(loads)
    report("workers", f"8 connections, medians of {arguments.rounds} starts", list(rows(results)), arguments.write)


if __name__ == "__main__":
    main()
