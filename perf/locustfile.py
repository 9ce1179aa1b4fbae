"""Replays the bundle's recorded requests against a running service.

    locust -f perf/locustfile.py --host http://127.0.0.1:8000

docs/gate.md says how several processes send at once.
BUNDLE in the environment names another bundle folder than the project's own.
"""

import os
import sys
from pathlib import Path
from typing import Any, ClassVar

from locust import FastHttpUser, events, task
from locust.env import Environment

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


events.init.add_listener(read_bundle)  # type: ignore[no-untyped-call]
