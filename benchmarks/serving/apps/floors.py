"""Servers that read the JSON and answer a constant: what no model and no validation could be faster than."""

import json
from typing import Any

from flask import Flask, Response, request

ANSWER = {"predictions": [{"label": "CHGOFF", "probabilities": {"CHGOFF": 0.7352694272994995, "PIF": 0.26473057270}}]}
BODY = json.dumps(ANSWER).encode()

flask = Flask(__name__)


@flask.post("/predict")
def predict() -> Response:
    request.get_json()
    return Response(BODY, mimetype="application/json")


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    json.loads(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]


async def asgi(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    json.loads((await receive())["body"])
    fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": BODY})
