"""Where the time of a prediction goes: py-spy's samples of a worker under load, as microseconds of CPU a request.

    python -m benchmarks.serving.breakdown [--seconds 5] [--rounds 3] [--write]

As the service comes, with a span of OpenTelemetry for each request, sent to a collector that keeps none, and with spans
of 1 % of them: in turns, since a machine changes, and medians over the turns. Time in C counts for the Python that
called it. Needs wrk, and leave to trace other processes (root, or kernel.yama.ptrace_scope=0).
"""

import argparse
import contextlib
import json
import random
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
from rich.progress import track

from benchmarks.serving.environments import ROOT, python_for
from benchmarks.serving.run import report, running, wrk
from benchmarks.serving.servers import OURS, SERVE, SERVERS, Server, body

SAMPLES = 400  # a second
SPANS = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
PARTS = {  # by the file of the innermost function of ours, or of these libraries
    "onnxruntime": "the model's run, in ONNX Runtime",
    "serving/records.py": "JSON, validation and decoding",
    "pack (": "the row for the model",
    "pipeline/columns.py": "derive, the project's own code",
    "model/data.py": "derive, the project's own code",
    "serving/predictor.py": "calling the model and checking its answer",
    "serving/protocols": "the answer's JSON",
    "serving/replies.py": "the answer's JSON",
    "serving/observe/metrics.py": "metrics",
    "serving/observe/log.py": "access log and request ids",
    "serving/observe/tracing.py": "spans of OpenTelemetry, and sending them",
    "/opentelemetry/": "spans of OpenTelemetry, and sending them",
    "serving/service.py": "routes, counting, header fields",
    "serving/http/asgi.py": "routes, counting, header fields",
    "serving/http/": "HTTP, in httptools, uvicorn and serving/http",
    "uvicorn/": "HTTP, in httptools, uvicorn and serving/http",
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


class Found(NamedTuple):
    """What a request costs a worker, and where."""

    rate: float  # requests a second
    cpu: float  # microseconds a request
    samples: Counter[str]  # by part

    def of(self, part: str) -> float:
        """Microseconds a request for a part."""
        return self.cpu * self.samples[part] / self.samples.total()


def measured(server: Server, profiler: Path, seconds: int) -> Found:
    """One worker of a server under as much load as it takes."""
    with (ROOT / "bundle" / "requests.jsonl").open() as lines, tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "body.json")
        file.write_text(json.dumps(body("instances", [json.loads(next(lines))])))
        more = {"workers": "1", "body": str(file), "scratch": scratch, "sklearn_bundle": ""}
        with running(server, more) as (url, _, leader):
            (worker,) = psutil.Process(leader).children()
            wrk(url, file, 8, 2, close=False)
            before = sum(worker.cpu_times()[:2])
            load = wrk(url, file, 8, seconds, close=False)
            per_request = (sum(worker.cpu_times()[:2]) - before) / (load.rps * seconds) * 1e6
            with ThreadPoolExecutor(1) as pool:
                busy = pool.submit(wrk, url, file, 8, seconds + 3, close=False)
                counts = samples(worker.pid, seconds, profiler)
                busy.result()
    return Found(load.rps, per_request, counts)


class _Accepted(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def collector() -> Iterator[str]:
    """The address of something that takes spans and forgets them."""
    with HTTPServer(("127.0.0.1", 0), _Accepted) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def rows(found: Mapping[str, Sequence[Found]]) -> Iterator[list[str]]:
    """A table: heads first. Shares are the first column's."""
    first, *others = found
    parts = {part for runs in found.values() for run in runs for part in run.samples}
    cpu = {name: {part: median(run.of(part) for run in runs) for part in parts} for name, runs in found.items()}
    total = {name: sum(of.values()) for name, of in cpu.items()}
    yield ["part", first, "share", *others]
    for part in sorted(parts, key=lambda part: -max(of[part] for of in cpu.values())):
        share = f"{100 * cpu[first][part] / total[first]:.0f} %"
        yield [part, f"{cpu[first][part]:.1f}", share, *(f"{cpu[name][part]:.1f}" for name in others)]
    yield ["all", f"{total[first]:.1f}", "100 %", *(f"{total[name]:.1f}" for name in others)]
    rates = [f"{median(run.rate for run in runs):,.0f}" for runs in found.values()]
    yield ["requests a second", rates[0], "", *rates[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.breakdown", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into benchmarks/serving.md")
    arguments = parser.parse_args()
    profiler = python_for(Server([], ("py-spy",)))
    own = SERVERS[OURS]._replace(more={"WEB_CONCURRENCY": "1"})
    with collector() as address:
        traced = own._replace(needs=(*SERVE, *SPANS), more={**own.more, "OTEL_EXPORTER_OTLP_ENDPOINT": address})
        servers = {
            "µs of CPU": own,
            "with spans": traced,
            "with spans of 1 %": traced._replace(more={**traced.more, **SAMPLED}),
        }
        found: dict[str, list[Found]] = {name: [] for name in servers}
        for _ in track(range(arguments.rounds), "Measuring"):
            for name, server in random.sample(list(servers.items()), len(servers)):
                found[name].append(measured(server, profiler, arguments.seconds))
    title = f"One record, one worker, 8 connections, medians of {arguments.rounds} starts"
    report("breakdown", title, list(rows(found)), arguments.write)


if __name__ == "__main__":
    main()
