"""serving.score: predictions without a server."""

import json
import subprocess
import sys
from pathlib import Path

from flask.testing import FlaskClient

from tests.engine.conftest import environment


def score(project: Path, data: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "serving.score"],
        cwd=project,
        env=environment(project),
        input=data,
        capture_output=True,
        check=False,
    )


def test_it_answers_as_the_service_does(trained: Path, client: FlaskClient, records: list[bytes]) -> None:
    """More rows than one request may hold, a line each, in order."""
    rows = records * 3
    done = score(trained, b"\n".join(rows))
    assert done.returncode == 0, done.stderr
    served = json.loads(client.post("/predict", data=b'{"instances":[' + b",".join(records) + b"]}").data)[
        "predictions"
    ]
    assert [json.loads(line) for line in done.stdout.splitlines()] == served * 3


def test_a_bad_record_is_named(trained: Path, records: list[bytes]) -> None:
    """Exit code 3 and the field."""
    record = json.loads(records[0])
    name, _ = record.popitem()
    done = score(trained, json.dumps(record).encode())
    assert done.returncode == 3
    assert f"field {name!r}: is missing" in done.stderr.decode()
    assert b"Traceback" not in done.stderr
