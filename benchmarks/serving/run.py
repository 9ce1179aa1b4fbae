"""The service against the tutorial's way, side by side in one run: requests a second, p95, memory, start.

    make bench-serving
    python -m benchmarks.serving.run [--seconds 10] [--rounds 3] [--connections 8]

Needs wrk (https://github.com/wg/wrk; Debian and Ubuntu: apt install wrk). One server runs at a time, in turns, so that
each round sees the machine as it is then; the table shows medians over the rounds and ratios to the tutorial.
"""

import argparse
import contextlib
import json
import os
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
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline.settings import load_settings

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
GUNICORN = [sys.executable, "-m", "gunicorn"]
TUTORIAL = [*GUNICORN, "--chdir", str(HERE), "tutorial:app", "--bind", "127.0.0.1:{port}"]
SERVERS: dict[str, tuple[list[str], dict[str, str]]] = {
    "tutorial, gunicorn's defaults": (TUTORIAL, {}),
    "tutorial, a worker a CPU, one thread": ([*TUTORIAL, "--workers", str(os.cpu_count())], {"OMP_NUM_THREADS": "1"}),
    "this service": ([*GUNICORN, "--config", str(ROOT / "serving" / "gunicorn.conf.py")], {}),
}
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[BODY]]
done = function(summary, latency)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format("RESULT %d %d %d %d", summary.requests, summary.duration, latency:percentile(95), bad))
end
"""


class Measured(NamedTuple):
    rps: float
    p95_ms: float
    ready_s: float
    rss_mb: float
    errors: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_mb(leader: int) -> float:
    """Resident memory of a process group, in MB: shared pages count once for each process."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) == leader:
                total += int(fields[21])
        except OSError:  # gone meanwhile
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(command: list[str], more: dict[str, str], body: bytes, seconds: int, connections: int) -> Measured:
    """Starts a server, waits for its first right answer, and lets wrk load it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/predict"
    first = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    environment = {**os.environ, "PORT": str(port), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", **more}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "predict.lua")
        script.write_text(SCRIPT.replace("BODY", body.decode()))
        log = Path(folder, "log").open("w+")  # noqa: SIM115  closed with the server
        server = subprocess.Popen(
            [part.format(port=port) for part in command],
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                if server.poll() is not None or time.monotonic() - started > 60:
                    log.seek(0)
                    last = (log.read().strip().splitlines() or ["no word"])[-1]
                    raise SystemExit(f"{' '.join(command)} does not answer: {last}")
                try:
                    with urllib.request.urlopen(first, timeout=10) as answer:  # noqa: S310  loopback
                        answer.read()
                        break
                except OSError:
                    time.sleep(0.02)
            ready = time.monotonic() - started
            wrk = [
                "wrk",
                "--threads",
                "1",
                "--connections",
                str(connections),
                "--timeout",
                "10s",
                "--script",
                str(script),
            ]
            subprocess.run([*wrk, "--duration", "2s", url], capture_output=True, check=True)  # warm-up
            output = subprocess.run(
                [*wrk, "--duration", f"{seconds}s", url], capture_output=True, text=True, check=True
            ).stdout
            found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+)", output)
            if found is None:
                raise SystemExit(f"wrk: {output}")
            requests, microseconds, p95, bad = map(int, found.groups())
            return Measured(requests / microseconds * 1e6, p95 / 1000, ready, resident_mb(server.pid), bad)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            log.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not on PATH (Debian and Ubuntu: apt install wrk)")
    if not (ROOT / "bundle" / "card.json").exists():
        raise SystemExit("no bundle; run `make train`")
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{ROOT / 'mlflow.db'}")
    os.environ.setdefault("MODEL_URI", f"models:/{load_settings(ROOT).project.name}@candidate")
    body = b'{"instances":[' + (ROOT / "bundle" / "requests.jsonl").read_bytes().splitlines()[0] + b"]}"

    results: dict[str, list[Measured]] = {name: [] for name in SERVERS}
    turns = [(name, *server) for _ in range(arguments.rounds) for name, server in SERVERS.items()]
    for name, command, more in track(turns, "measuring"):
        results[name].append(measure(command, more, body, arguments.seconds, arguments.connections))

    medians = {
        name: Measured(*(statistics.median(c) for c in zip(*runs, strict=True))) for name, runs in results.items()
    }
    first = next(iter(medians.values())).rps
    table = Table(title=f"{arguments.connections} connections, one record, medians of {arguments.rounds}")
    for heading in ("server", "requests/s", "ratio", "p95 ms", "ready s", "RSS MB", "errors"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for name, m in medians.items():
        numbers = (f"{m.rps:.0f}", f"{m.rps / first:.1f}", f"{m.p95_ms:.1f}", f"{m.ready_s:.2f}", f"{m.rss_mb:.0f}")
        table.add_row(name, *numbers, f"{m.errors:.0f}")
    Console().print(table)
    Path(".cache").mkdir(exist_ok=True)
    Path(".cache/bench-serving.json").write_text(json.dumps({k: [r._asdict() for r in v] for k, v in results.items()}))


if __name__ == "__main__":
    main()
