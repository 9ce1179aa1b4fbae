"""The service beside its peers and its floors, in one run: requests a second, latencies, errors, memory, start, size.

    make bench-serving
    python -m benchmarks.serving.run [--seconds 4] [--rounds 3] [--only "this service;FastAPI"] [--write]

Needs wrk (https://github.com/wg/wrk; Debian and Ubuntu: apt install wrk). One server runs at a time, all of them in a
new random order each round, so that each round sees the machine as it is then. Tables show medians over the rounds.
`--write` puts them into benchmarks/serving.md and README.md, as `make bench-serving` does.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from benchmarks import sections
from benchmarks.gate.recorded import machine
from benchmarks.serving.environments import CACHE, MODEL, ROOT, VERSIONS, export_model, python_for, size, sklearn_bundle
from benchmarks.serving.servers import OURS, OWN_PYDANTIC, SERVERS, TARGETS, TUTORIAL, Server, body

START_SECONDS = 90
CONNECTIONS = (1, 8, 32)
RATE = 200.0  # requests a second of the open loop: what the slowest here can still answer
RESULTS, DOCUMENT, COMMAND = CACHE / "results.json", ROOT / "benchmarks" / "serving.md", "make bench-serving"
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
%s
local file = io.open("%s", "rb"); wrk.body = file:read("*a"); file:close()
done = function(summary, latency)
  local e = summary.errors
  print(string.format("RESULT %%d %%d %%d %%d %%d %%d", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(95), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""
FIGURES = {"rps": "requests a second", "p95": "p95"}
CLOSE = 'wrk.headers["Connection"] = "close"'

SUMMARY = """**How fast the service is**: {rps:,.0f} predictions a second on {cpus} CPUs, {tutorial:.0f} times the
tutorial's Flask around a pickle and {fastapi:.1f} times FastAPI with the same ONNX session.
[Figures](benchmarks/serving.md)
"""


class NotAnswering(RuntimeError):
    """A server that does not start, or does not answer; the message is the end of its log."""


class Load(NamedTuple):
    """What wrk saw."""

    rps: float
    p50: float  # ms
    p95: float
    p99: float
    errors: int


class Run(NamedTuple):
    """One start of a server."""

    ready: float  # s until the first right answer
    memory: float  # MB of all processes, shared pages counted once
    loads: dict[str, Load]  # by connections; "close": each request has one of its own; "open": Locust, at a fixed rate


@contextlib.contextmanager
def running(server: Server, more: dict[str, str]) -> Iterator[tuple[str, float, int]]:
    """A started server: its address, how long it took to the first right answer, and the leader of its processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    python = python_for(server)
    names = more | {"port": port, "python": str(python), "bin": str(python.parent), "root": str(ROOT)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLOPS_", "OMP_"))}
    environment |= {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}  # MLflow calls uvicorn by its name
    environment |= {"PORT": port, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "MODEL": str(MODEL)}
    environment |= {"BUNDLE": str(ROOT / "bundle"), "WORKERS": more["workers"], "BENTOML_DO_NOT_TRACK": "True"}
    environment |= {key: value.format(**names) for key, value in server.more.items()}
    if server.threads:
        environment["OMP_NUM_THREADS"] = server.threads
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [part.format(**names) for part in server.command],
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}{server.path}"
            request = urllib.request.Request(url, Path(more["body"]).read_bytes(), {"Content-Type": "application/json"})
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                    answer.read()
                    break
                if process.poll() is not None or time.monotonic() - started > START_SECONDS:
                    log.seek(0)
                    raise NotAnswering(log.read()[-2000:])
                time.sleep(0.02)
            yield url, time.monotonic() - started, process.pid
        finally:
            family: list[psutil.Process] = []
            with contextlib.suppress(psutil.NoSuchProcess):
                family = psutil.Process(process.pid).children(recursive=True)  # BentoML's leave the group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            for each in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait()


def memory(leader: int) -> float:
    """Megabytes of a process and its children; a page that several share counts once."""
    family = psutil.Process(leader)
    return sum(each.memory_full_info().pss for each in (family, *family.children(recursive=True))) / 1e6


def wrk(url: str, body: Path, connections: int, seconds: int, close: bool) -> Load:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % (CLOSE if close else "", body))
        script.flush()
        command = ["wrk", "--threads", "1", "--connections", str(connections), "--timeout", "10s"]
        command += ["--duration", f"{seconds}s", "--script", script.name, url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", output)
    if found is None:
        raise SystemExit(f"wrk: {output}")
    requests, took, p50, p95, p99, errors = map(int, found.groups())
    return Load(requests / took * 1e6, p50 / 1000, p95 / 1000, p99 / 1000, errors)


def open_loop(url: str, body: Path, seconds: int) -> Load:
    """Latencies from when requests were due, in a process of its own, which gevent patches."""
    command = [sys.executable, "-m", "benchmarks.serving.open_loop", url, str(body), "--rate", str(RATE)]
    command += ["--seconds", str(seconds)]
    return Load(**json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout))


def measure(server: Server, records: list[Any], seconds: int, more: dict[str, str]) -> Run:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "body.json")
        file.write_text(json.dumps(body(server.form, records)))
        shutil.copy(Path(__file__).parent / "apps" / "mlserver" / "model-settings.json", scratch)
        Path(scratch, "model.joblib").symlink_to(MODEL)
        with running(server, more | {"body": str(file), "scratch": scratch}) as (url, ready, leader):
            wrk(url, file, 8, 2, close=False)  # to warm up
            loads = {str(n): wrk(url, file, n, seconds, close=False) for n in CONNECTIONS}
            loads["close"] = wrk(url, file, 8, seconds, close=True)
            loads["open"] = open_loop(url, file, seconds)
            return Run(ready, memory(leader), loads)


def median(runs: list[Run], load: str, figure: str) -> float:
    return statistics.median(getattr(run.loads[load], figure) for run in runs)


def spread(runs: list[Run], load: str) -> float:
    """How far the starts of a server lie apart, in requests a second, as a share of the median."""
    found = [run.loads[load].rps for run in runs]
    return (max(found) - min(found)) / statistics.median(found)


def rows(results: dict[str, list[Run]]) -> Iterator[list[str]]:
    """A table: heads first."""
    yield [
        *("server", *(f"req/s, {n}" for n in CONNECTIONS), "no keep-alive", "± starts"),
        *("p50 ms", "p95 ms", "p99 ms", f"p95 ms, {RATE:g}/s", "ready s", "MB used", "MB installed", "errors"),
    ]
    for name, runs in sorted(results.items(), key=lambda item: -median(item[1], "8", "rps")):
        yield [
            name,
            *(f"{median(runs, str(n), 'rps'):,.0f}" for n in CONNECTIONS),
            f"{median(runs, 'close', 'rps'):,.0f}",
            f"{100 * spread(runs, '8'):.0f} %",
            *(f"{median(runs, '8', figure):.2f}" for figure in ("p50", "p95", "p99")),
            f"{median(runs, 'open', 'p95'):,.1f}",
            f"{statistics.median(run.ready for run in runs):.2f}",
            f"{statistics.median(run.memory for run in runs):.0f}",
            f"{size(SERVERS[name]):.0f}",
            f"{sum(load.errors for run in runs for load in run.loads.values())}",
        ]


def targets(results: dict[str, list[Run]]) -> Iterator[list[str]]:
    """A table of what was promised and what came of it: heads first."""
    yield ["one beside the other", "", "wanted", "found", "met"]
    for of in TARGETS:
        if of.server in results and of.other in results:
            found = median(results[of.server], of.load, of.figure) / median(results[of.other], of.load, of.figure)
            met = found >= of.ratio if of.sign == ">=" else found <= of.ratio
            figure = FIGURES[of.figure] + (", no keep-alive" if of.load == "close" else "")
            sign = "≥" if of.sign == ">=" else "≤"
            yield [f"{of.server} / {of.other}", figure, f"{sign} {of.ratio:g}", f"{found:.2f}", "yes" if met else "no"]


def summary(results: dict[str, list[Run]]) -> str:
    """What README.md says."""
    rps = {name: median(results[name], "8", "rps") for name in (OURS, TUTORIAL, OWN_PYDANTIC)}
    return SUMMARY.format(
        rps=rps[OURS],
        cpus=len(os.sched_getaffinity(0)),
        tutorial=rps[OURS] / rps[TUTORIAL],
        fastapi=rps[OURS] / rps[OWN_PYDANTIC],
    )


def show(console: Console, title: str, lines: list[list[str]]) -> None:
    table = Table(lines[0][0], title=title)
    for head in lines[0][1:]:
        table.add_column(head, justify="right")
    for line in lines[1:]:
        table.add_row(*map(escape, line))
    console.print(table)


def report(module: str, title: str, lines: list[list[str]], write: bool) -> None:
    """Shows a table, heads first, and writes it to the place in benchmarks/serving.md that is this module's."""
    show(Console(width=120), title, lines)
    if write:
        text = f"{title}, on {datetime.now(UTC).date()}.\n\n{sections.table(lines[0], lines[1:])}\n"
        sections.write(DOCUMENT, f"python -m benchmarks.serving.{module} --write", text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.run", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="names of servers, with semicolons; a name may be cut short")
    parser.add_argument("--write", action="store_true", help="into benchmarks/serving.md and README.md")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not on PATH (Debian and Ubuntu: apt install wrk)")
    wanted = [name.strip() for name in arguments.only.split(";") if name.strip()]
    chosen = {n: s for n, s in SERVERS.items() if not wanted or any(n.startswith(w) for w in wanted)}
    names = VERSIONS | {"mlflow": export_model(), "workers": str(len(os.sched_getaffinity(0)))}
    names["sklearn_bundle"] = str(sklearn_bundle())
    with (ROOT / "bundle" / "requests.jsonl").open() as lines:
        records = [json.loads(next(lines))]
    for server in chosen.values():
        python_for(server)
    results: dict[str, list[Run]] = {name: [] for name in chosen}
    turns = [n for _ in range(arguments.rounds) for n in random.sample(list(chosen), len(chosen))]
    for name in track(turns, "Measuring"):
        try:
            results[name].append(measure(chosen[name], records, arguments.seconds, names))
        except NotAnswering as error:
            print(f"{name} does not answer, and is left out:\n{error}")
    results = {name: runs for name, runs in results.items() if len(runs) == arguments.rounds}
    RESULTS.write_text(json.dumps({name: [run._asdict() for run in runs] for name, runs in results.items()}))
    console, title = Console(width=190), f"One record, medians of {arguments.rounds} starts; latencies at 8 connections"
    measured, met = list(rows(results)), list(targets(results))
    show(console, title, measured)
    show(console, "What is promised", met)
    console.print(f"Figures of every start: {RESULTS.relative_to(ROOT)}")
    if arguments.write:
        where = f"On {machine()}, on {datetime.now(UTC).date()}"
        text = f"{where}. {title}.\n\n{sections.table(measured[0], measured[1:])}\n\n"
        text += f"{sections.table(met[0], met[1:])}\n"
        sections.write(DOCUMENT, COMMAND, text)
        sections.write(ROOT / "README.md", COMMAND, summary(results))


if __name__ == "__main__":
    main()
