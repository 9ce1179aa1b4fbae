"""Replays the bundle's recorded requests against a running service.

    locust -f perf/locustfile.py --host http://127.0.0.1:8000

docs/scale.md says how several processes and machines send at once. Without its page (--headless) it ends with p95 of
every single request, and with exit code 1 where that is above p95_ms of pipeline.toml, or --p95-ms.
BUNDLE in the environment names another bundle folder than the project's own.
"""

# mypy: disable-error-code="no-untyped-call"
# (Locust's events have no types.)

import math
import os
import sys
import tomllib
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

BUNDLE = Path(os.environ.get("BUNDLE") or Path(__file__).resolve().parent.parent / "bundle")
HEADERS = {"Content-Type": "application/json"}


def load_requests(path: Path) -> list[bytes]:
    """The bodies of POST /predict, ready to send, one for each record of a requests.jsonl.

    Raises ValueError where the file is missing or holds no record.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; run `make train`, or name a bundle folder in BUNDLE")
    bodies = bodies_of(path.read_bytes())
    if not bodies:
        raise ValueError(f"{path}: holds no record; run `make train`")
    return bodies


def bodies_of(records: bytes) -> list[bytes]:
    """A body for each line that is not empty."""
    return [b'{"instances": [' + line.strip() + b"]}" for line in records.splitlines() if line.strip()]


class PredictUser(FastHttpUser):
    """Sends one record after the other, each as soon as the last one is answered."""

    bodies: ClassVar[list[bytes]] = []
    sent = 0

    @task
    def predict(self) -> None:
        body = self.bodies[self.sent % len(self.bodies)]
        self.client.post("/predict", data=body, headers=HEADERS)  # type: ignore[arg-type]  # bytes are sent as they are
        self.sent += 1

    def on_stop(self) -> None:
        self.client.client.close()


def read_bundle(environment: Environment, **_: Any) -> None:
    environment.host = (environment.host or "").rstrip("/") or None  # as people copy it
    try:
        PredictUser.bodies = load_requests(BUNDLE / "requests.jsonl")
    except ValueError as error:
        sys.exit(str(error))
    latencies = array("f")  # milliseconds, of each request: Locust's own p95 is rounded to two digits

    def note(response_time: float, exception: object, **_: Any) -> None:
        if exception is None:
            latencies.append(response_time)

    def send(data: dict[str, Any], **_: Any) -> None:
        data["latencies"] = latencies.tobytes()
        del latencies[:]

    def receive(data: dict[str, Any], **_: Any) -> None:
        latencies.frombytes(data["latencies"])

    def judge(environment: Environment, **_: Any) -> None:
        if environment.web_ui is None and not isinstance(environment.runner, WorkerRunner):
            verdict(environment, latencies)

    events.request.add_listener(note)
    events.report_to_master.add_listener(send)
    if isinstance(environment.runner, MasterRunner):
        events.worker_report.add_listener(receive)
    events.quitting.add_listener(judge)


def verdict(environment: Environment, latencies: Sequence[float]) -> None:
    """Prints p95, and sets Locust's exit code where it is above the limit."""
    limit = environment.parsed_options.p95_ms if environment.parsed_options else None
    if not latencies:
        print("No request was answered.", file=sys.stderr)
        environment.process_exit_code = 1
        return
    p95 = sorted(latencies)[max(0, math.ceil(0.95 * len(latencies)) - 1)]
    passed = limit is None or p95 <= limit
    compared = "" if limit is None else f", {'within' if passed else 'above'} p95_ms = {limit:g}"
    print(f"p95 of {len(latencies):,} requests is {p95:.2f} ms{compared}.", file=sys.stderr)
    if not passed:
        environment.process_exit_code = 1


def options(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--p95-ms", type=float, default=limit_of(BUNDLE.parent / "pipeline.toml"), help="p95 that fails"
    )


def limit_of(settings: Path) -> float | None:
    """What a pipeline.toml says of p95; None where there is none, or no limit."""
    if not settings.is_file():
        return None
    found = tomllib.loads(settings.read_text(encoding="utf-8")).get("perf", {}).get("p95_ms", 100.0)
    return float(found) or None


events.init.add_listener(read_bundle)
events.init_command_line_parser.add_listener(options)
