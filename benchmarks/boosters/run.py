"""LightGBM, XGBoost and CatBoost on the loans: how exact ONNX is, and what the service answers beside its peers.

    make bench-boosters
    python -m benchmarks.boosters.run [--seconds 4] [--rounds 3] [--only LightGBM] [--write]

Needs wrk, and the three libraries in the environment that runs it (requirements/template.txt). One server runs at a
time, all of them in a new random order each round. `--write` puts the table into benchmarks/models.md.
"""

import argparse
import importlib.metadata
import json
import os
import random
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks import sections
from benchmarks.boosters.projects import ESTIMATORS, package, project
from benchmarks.gate.recorded import machine
from benchmarks.serving.environments import ROOT, VERSIONS, python_for, size
from benchmarks.serving.run import Load, NotAnswering, running, show, wrk
from benchmarks.serving.servers import FASTAPI, FLASK, SERVE, SERVERS, SERVICE, TUTORIAL, UVICORN, Server, body
from pipeline import bundle as bundles

DOCUMENT, COMMAND = ROOT / "benchmarks" / "models.md", "make bench-boosters"
OURS, QUICK = "this service", "FastAPI, the library's own predict"
WANTED = 10  # times the requests a second of the tutorial's way


def servers(name: str, folder: Path, runtime: str) -> dict[str, Server]:
    """The service and its peers around one model, each with the packages that it takes."""
    library = f"{package(name)}=={importlib.metadata.version(package(name))}"
    own = {"PYTHONPATH": f"{folder}:{folder / 'src'}", "BUNDLE": str(folder / "bundle")}
    own |= {"MODEL": str(folder / "model.joblib")}
    needs = SERVE if runtime == "onnx" else ("--requirements", "requirements/serve-sklearn.txt", library)
    here = {"PYTHONPATH": f"{folder}:{folder / 'src'}:{ROOT}"}
    return {
        OURS: Server([*SERVICE[:-1], str(folder / "serving" / "gunicorn.conf.py")], needs, more=own),
        TUTORIAL: SERVERS[TUTORIAL]._replace(needs=(*FLASK, library), more=own | here),
        QUICK: Server([*UVICORN, "benchmarks.boosters.quick:app"], (*FASTAPI, library), more=own | here),
    }


def measure(server: Server, seconds: int) -> Load:
    """At 8 connections, after two seconds to warm up."""
    line = (Path(server.more["BUNDLE"]) / "requests.jsonl").read_text().splitlines()[0]
    names = VERSIONS | {"workers": str(len(os.sched_getaffinity(0)))}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(body(server.form, [json.loads(line)]), file)
        file.flush()
        with running(server, names | {"body": file.name}) as (url, _, _leader):
            wrk(url, Path(file.name), 8, 2, close=False)
            return wrk(url, Path(file.name), 8, seconds, close=False)


def rows(name: str, folder: Path, loads: dict[str, list[Load]], sizes: dict[str, float]) -> Iterator[list[str]]:
    """Of a table, those of one model, the fastest server first."""
    card = bundles.read(folder / "bundle").card
    difference = f"{card.parity['largest_difference']:.1e}" if card.runtime == "onnx" else ""
    rps = {server: statistics.median(load.rps for load in found) for server, found in loads.items()}
    for server in sorted(rps, key=lambda each: -rps[each]):
        found = loads[server]
        ours = server == OURS
        yield [
            name,
            f"{server}, by {'ONNX' if difference else 'the library'}" if ours else server,
            difference if ours else "",
            f"{rps[server]:,.0f}",
            f"{rps[server] / rps[TUTORIAL]:.1f}",
            f"{statistics.median(load.p95 for load in found):.2f}",
            f"{sizes[server]:.0f}",
            f"{sum(load.errors for load in found)}",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.boosters.run", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="the name of a model, or its beginning")
    parser.add_argument("--write", action="store_true", help="into benchmarks/models.md")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not on PATH (Debian and Ubuntu: apt install wrk)")
    folders = {name: project(name) for name in ESTIMATORS if name.startswith(arguments.only)}
    runtimes = {name: bundles.read(folder / "bundle").card.runtime for name, folder in folders.items()}
    peers = {name: servers(name, folder, runtimes[name]) for name, folder in folders.items()}
    turns = [(name, server) for name in peers for server in peers[name]]
    for name, server in turns:
        python_for(peers[name][server])
    loads: dict[str, dict[str, list[Load]]] = {name: {each: [] for each in peers[name]} for name in peers}
    every = [turn for _ in range(arguments.rounds) for turn in random.sample(turns, len(turns))]
    for name, server in track(every, "Measuring"):
        try:
            loads[name][server].append(measure(peers[name][server], arguments.seconds))
        except NotAnswering as error:
            raise SystemExit(f"{server} does not answer with {name}:\n{error}") from None
    heads = [
        "model",
        "server",
        "largest difference",
        "req/s, 8",
        "times the tutorial's",
        "p95 ms",
        "MB installed",
        "errors",
    ]
    table = [heads]
    for name, folder in folders.items():
        sizes = {server: size(peers[name][server]) for server in peers[name]}
        table += rows(name, folder, loads[name], sizes)
    title = f"One record, 200 trees, 8 connections, medians of {arguments.rounds} starts"
    show(Console(width=160), title, table)
    short = [line for line in table[1:] if line[1] == f"{OURS}, by ONNX" and float(line[4]) < WANTED]
    print(f"At least {WANTED} times the tutorial's way, where ONNX serves: {'no' if short else 'yes'}.")
    if arguments.write:
        text = f"On {machine()}, on {datetime.now(UTC).date()}. {title}.\n\n{sections.table(heads, table[1:])}\n"
        sections.write(DOCUMENT, COMMAND, text)


if __name__ == "__main__":
    main()
