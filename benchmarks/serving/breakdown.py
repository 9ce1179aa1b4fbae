"""Where the time of a prediction goes: py-spy's samples of a worker under load, as microseconds of CPU a request.

    python -m benchmarks.serving.breakdown [--seconds 15] [--write]

Needs wrk, and leave to trace other processes (root, or kernel.yama.ptrace_scope=0). Time in C counts for the Python
that called it.
"""

import argparse
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from benchmarks.serving.environments import ROOT, python_for
from benchmarks.serving.run import report, running, wrk
from benchmarks.serving.servers import OURS, SERVERS, Server, body

SAMPLES = 400  # a second
PARTS = {  # by the file of the innermost function of ours, or of these libraries
    "onnxruntime": "the model's run, in ONNX Runtime",
    "serving/records.py": "JSON, validation and decoding",
    "pipeline/columns.py": "derive, the project's own code",
    "model/data.py": "derive, the project's own code",
    "pipeline/matrix.py": "the row for the model",
    "serving/predictor.py": "calling the model and checking its answer",
    "serving/protocols": "the answer's JSON",
    "serving/replies.py": "the answer's JSON",
    "serving/metrics.py": "metrics",
    "serving/access.py": "access log and request ids",
    "serving/correlation.py": "access log and request ids",
    "serving/service.py": "the front: routes, counting, header fields",
    "serving/asgi.py": "the front: routes, counting, header fields",
    "serving/worker.py": "HTTP, in httptools, uvicorn and serving/worker.py",
    "uvicorn/": "HTTP, in httptools, uvicorn and serving/worker.py",
    "asyncio/": "the event loop and the sockets",
    "selectors.py": "the event loop and the sockets",
}


def part_of(stack: str) -> str:
    """The part that a stack of frames, outermost first, belongs to."""
    for frame in reversed(stack.split(";")):
        for place, part in PARTS.items():
            if place in frame:
                return part
    return "other"


def samples(worker: int, seconds: int, python: Path) -> Counter[str]:
    """How many samples of a process fall on each part."""
    with tempfile.NamedTemporaryFile("r") as found:
        command = [str(python.parent / "py-spy"), "record", "--pid", str(worker), "--duration", str(seconds)]
        command += ["--rate", str(SAMPLES), "--format", "raw", "--full-filenames", "--output", found.name]
        subprocess.run(command, check=True, capture_output=True)
        counts: Counter[str] = Counter()
        for line in Path(found.name).read_text().splitlines():
            stack, _, number = line.rpartition(" ")
            counts[part_of(stack)] += int(number)
    return counts


def rows(counts: Counter[str], per_request: float) -> Iterator[list[str]]:
    yield ["part", "µs of CPU", "share"]
    for part, count in counts.most_common():
        share = count / counts.total()
        yield [part, f"{per_request * share:.1f}", f"{100 * share:.0f} %"]
    yield ["all", f"{per_request:.1f}", "100 %"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.breakdown", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="into docs/serving.md")
    arguments = parser.parse_args()
    seconds = arguments.seconds
    tracer = python_for(Server([], ("py-spy",)))
    with (ROOT / "bundle" / "requests.jsonl").open() as lines, tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "body.json")
        file.write_text(json.dumps(body("instances", [json.loads(next(lines))])))
        more = {"workers": "1", "body": str(file), "scratch": scratch, "sklearn_bundle": ""}
        server = SERVERS[OURS]._replace(more={"WEB_CONCURRENCY": "1"})
        with running(server, more) as (url, _, leader):
            (worker,) = psutil.Process(leader).children()
            wrk(url, file, 8, 2, close=False)
            before = sum(worker.cpu_times()[:2])
            load = wrk(url, file, 8, seconds, close=False)
            per_request = (sum(worker.cpu_times()[:2]) - before) / (load.rps * seconds) * 1e6
            with ThreadPoolExecutor(1) as pool:
                busy = pool.submit(wrk, url, file, 8, seconds + 3, close=False)
                counts = samples(worker.pid, seconds, tracer)
                busy.result()
    title = f"One record, one worker, 8 connections, {load.rps:,.0f} requests a second"
    report("breakdown", title, list(rows(counts, per_request)), arguments.write)


if __name__ == "__main__":
    main()
