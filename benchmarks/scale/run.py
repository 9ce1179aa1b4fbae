"""What docs/scale.md counts with: a version in MLflow, a request on the wire, and what one process of Locust sends.

    python -m benchmarks.scale.run [--write]      --write puts the table into benchmarks/scale.md

It registers versions of the sample with the server of MLFLOW_TRACKING_URI, as docs/mlflow.md says what a client needs,
under a name of its own that stays there, and in a file. The service and Locust run on this machine.
"""

import argparse
import contextlib
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import requests

from benchmarks import sections
from benchmarks.gate.recorded import machine
from benchmarks.tables.sources import CACHE, ROOT
from pipeline.settings import load_settings
from release.demo import environment_of, lay_out

COMMAND = "make bench-scale"
VERSIONS = 5
SECONDS = 15  # of each load
LOADS = 3
USERS = 50  # at once
PORT = 8123
URL = f"http://127.0.0.1:{PORT}"
TRAIN = """
import time
from training import candidate, train
register = candidate.register
def timed(*arguments, **more):
    began = time.monotonic()
    try:
        return register(*arguments, **more)
    finally:
        print(f"registered in {time.monotonic() - began} s")
candidate.register = timed
raise SystemExit(train.main([]))
"""


def registered(project: Path, environment: Mapping[str, str], trees: int) -> float:
    """Seconds to register a version of so many trees, without what it takes to train it."""
    estimator = project / "src" / "model" / "estimator.py"
    estimator.write_text(re.sub(r"max_iter=\d+", f"max_iter={trees}", estimator.read_text()))
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    found = re.search(r"registered in ([\d.]+) s", done.stdout)
    if done.returncode or found is None:
        raise SystemExit(done.stdout + done.stderr)
    return float(found[1])


def held(project: Path) -> tuple[int, int]:
    """Rows of the database, and bytes of the artifacts."""
    with sqlite3.connect(project / "mlflow.db") as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = sum(database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names)  # noqa: S608
    return rows, sum(path.stat().st_size for path in (project / "mlartifacts").rglob("*") if path.is_file())


@contextlib.contextmanager
def service(project: Path) -> Iterator[None]:
    """It runs, with one worker, so that Locust has a CPU of its own."""
    environment = os.environ | {"PORT": str(PORT), "HOST": "127.0.0.1", "WEB_CONCURRENCY": "1"}
    environment |= {"PYTHONPATH": f"{project}{os.pathsep}{project / 'src'}"}
    command = [sys.executable, "-m", "gunicorn", "--config", "serving/gunicorn.conf.py"]
    with (project / "service.log").open("w") as log:
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{URL}/readyz", timeout=1).ok:
                    break
            if time.monotonic() > until:
                raise SystemExit((project / "service.log").read_text())
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def on_the_wire() -> int:
    """Bytes that have gone over the loopback so far, headers of TCP and all, each counted once."""
    (line,) = re.findall(r"^ *lo:(.*)$", Path("/proc/net/dev").read_text(), re.MULTILINE)
    return int(line.split()[0])


def load(project: Path) -> tuple[float, float]:
    """Requests a second that one process of Locust gets answered, and the bytes of each with its answer."""
    began = on_the_wire()
    command = [
        str(Path(sys.executable).with_name("locust")),
        "--headless",
        f"--run-time={SECONDS}s",
        f"--users={USERS}",
    ]
    command += [f"--spawn-rate={USERS}", "--locustfile=perf/locustfile.py", f"--host={URL}"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    found = re.search(r"p95 of ([\d,]+) requests", done.stdout + done.stderr)
    if found is None:
        raise SystemExit(done.stdout + done.stderr)
    count = int(found[1].replace(",", ""))
    return count / SECONDS, (on_the_wire() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.run", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="into benchmarks/scale.md")
    arguments = parser.parse_args()
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not server.startswith("http"):
        raise SystemExit("Set MLFLOW_TRACKING_URI to a server's, as docs/mlflow.md says: make -C deploy/mlflow up")
    folder = CACHE / "scale"
    shutil.rmtree(folder, ignore_errors=True)
    project = folder / "project"
    lay_out(ROOT, load_settings(ROOT, {}).data.path, project)
    environment = environment_of(os.environ, project, f"scale-{os.getpid()}")
    by_file = [registered(project, environment, 200)]
    before = held(project)
    by_file += [registered(project, environment, 200 - each) for each in range(1, VERSIONS + 1)]
    rows, size = ((after - earlier) / VERSIONS for earlier, after in zip(before, held(project), strict=True))
    environment |= {"MLFLOW_TRACKING_URI": server}
    by_server = [registered(project, environment, 200 - each) for each in range(VERSIONS + 1)][1:]
    with service(project):
        loads = [load(project) for _ in range(LOADS)]
    table = [
        ["seconds to register a version, a server", *middle(by_server, 1)],
        ["seconds to register a version, a file", *middle(by_file[1:], 1)],
        ["rows of a version in MLflow's database", f"{rows:.0f}", ""],
        ["MB of a version's artifacts", f"{size / 1e6:.1f}", ""],
        ["requests a second that one process of Locust gets answered", *middle([rate for rate, _ in loads], 0)],
        ["bytes of a request and its answer, headers of TCP and all", *middle([size for _, size in loads], 0)],
    ]
    text = f"On {machine()}, on {time.strftime('%Y-%m-%d')}. {VERSIONS} versions, {LOADS} loads of {SECONDS} s.\n\n"
    text += sections.table(("what", "median", "least … most"), table) + "\n"
    print(text)
    if arguments.write:
        sections.write(ROOT / "benchmarks" / "scale.md", COMMAND, text)
    shutil.rmtree(folder)


def middle(values: list[float], digits: int) -> tuple[str, str]:
    """The median, and the range."""
    return f"{statistics.median(values):.{digits}f}", f"{min(values):.{digits}f} … {max(values):.{digits}f}"


if __name__ == "__main__":
    main()
