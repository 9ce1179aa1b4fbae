"""The Flask app: every route of the service.

make serve
flask --app serving.app run
"""

import os
from pathlib import Path

import msgspec
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from serving import limits, metrics, predictor, problems, validation
from serving.faults import Faults

ROOT = Path(__file__).parent.parent


def bundle_folder() -> Path:
    """The folder that BUNDLE in the environment names, else bundle/ of the project."""
    return Path(os.environ.get("BUNDLE") or ROOT / "bundle")


def create_app(bundle: Path | None = None) -> Flask:
    """The service for the bundle in a folder (default: `bundle_folder`).

    Raises BundleError where the bundle cannot be served, ValueError where [serving] of pipeline.toml is wrong.
    """
    folder = bundle or bundle_folder()
    loaded, predict = predictor.load(folder)
    limit = limits.load(ROOT / "pipeline.toml")
    decode = validation.decoder(loaded.contract, limit)
    faults = Faults()
    model = {"name": loaded.card.name, "version": loaded.card.version}
    card = msgspec.json.encode(loaded.card)

    # The first call of a runtime is its slowest, and a model that cannot answer must not say it is ready.
    with (folder / "requests.jsonl").open("rb") as file:
        predict(decode(b'{"instances":[' + file.readline() + b"]}"))

    app = Flask(__name__, static_folder=None)
    app.register_error_handler(problems.Problem, problems.response)
    app.register_error_handler(HTTPException, problems.from_http)
    if faults:
        app.logger.warning("Faults on purpose: %s", faults)

    @app.post("/predict")
    def predict_route() -> Response:
        records = decode(_body(limit.max_body_bytes))
        if faults and not faults.strike():
            raise problems.Problem(500, "Internal Server Error", "MLOPS_FAULT_ERROR_SHARE is set")
        g.rows = len(records)
        try:
            predictions = predict(records)
        except predictor.Unanswerable as error:
            raise problems.Problem(422, "Unprocessable Content", f"the model has no answer: {error}") from error
        return _json(msgspec.json.encode({"predictions": predictions, "model": model}))

    @app.get("/livez")
    def live() -> Response:
        return _json(b'{"status":"alive"}')

    @app.get("/readyz")
    def ready() -> Response:
        return _json(b'{"status":"ready"}')

    @app.get("/model")
    def card_route() -> Response:
        return _json(card)

    metrics.init_app(app, loaded.card)
    return app


def _body(limit: int) -> bytes:
    """The body of the request, at most `limit` bytes; Werkzeug would cut a longer one that has no Content-Length."""
    stream, length = request.environ["wsgi.input"], request.content_length
    if length is None and not request.environ.get("wsgi.input_terminated"):
        return b""
    body: bytes = stream.read(limit + 1 if length is None else min(length, limit + 1))
    if len(body) > limit:
        raise RequestEntityTooLarge(f"the body has more than {limit} bytes")
    return body


def _json(body: bytes) -> Response:
    return Response(body, mimetype="application/json")
