"""A stand-in for the real service: the same routes, half a millisecond of work, and faults on request."""

import itertools
import json
import os
import signal
import time
from pathlib import Path

from flask import Flask, Response, jsonify, request

app = Flask(__name__)
bundle = Path(os.environ["BUNDLE"])
card = json.loads((bundle / "card.json").read_text())
contract = json.loads((bundle / "contract.json").read_text())
fields, tolerated = set(contract["fields"]), set(contract.get("tolerated", []))
work_ms = 0.5 + float(os.environ.get("MLOPS_FAULT_BURN_MS", "0"))
dies_at = int(os.environ.get("MLOPS_FAULT_DIE_AT", "0"))
errors = itertools.cycle([500, 200]) if "MLOPS_FAULT_ERRORS" in os.environ else None
if (bundle / "errors").is_file():  # no variable reaches a baseline
    errors = itertools.cycle([500])
if (bundle / "deaths").is_file():  # a line for each start: at which request it dies
    dies_at, *later = map(int, (bundle / "deaths").read_text().split() or ["0"])
    (bundle / "deaths").write_text("\n".join(map(str, later)))
served = itertools.count(1)

if "MLOPS_FAULT_CRASH" in os.environ:
    raise RuntimeError("the stand-in crashes at start, as it was told")


def problem(status: int, detail: str) -> Response:
    return Response(json.dumps({"status": status, "detail": detail}), status, content_type="application/problem+json")


@app.get("/readyz")
def readyz() -> Response:
    return problem(503, "never ready") if "MLOPS_FAULT_NEVER_READY" in os.environ else jsonify(ready=True)


@app.get("/model")
def model() -> Response:
    return jsonify(card)


@app.post("/predict")
def predict() -> Response:
    if next(served) == dies_at:
        os.kill(os.getppid(), signal.SIGKILL)
    until = time.perf_counter() + work_ms / 1000
    while time.perf_counter() < until:
        pass
    for row, record in enumerate(request.get_json()["instances"]):
        for field in sorted((record.keys() ^ fields) - tolerated):
            return problem(422, f"row {row}, field {field}: unknown or missing")
    if errors is not None:
        return problem(500, "as it was told") if next(errors) == 500 else jsonify(predictions=[])
    return jsonify(predictions=[{"label": "PIF"}], model={"name": card["name"], "version": card["version"]})
