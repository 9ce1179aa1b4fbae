"""The service without a server: the bundle, loaded, and a table of what is answered where."""

import os
import statistics
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter

import msgspec

from pipeline.bundle import Bundle
from pipeline.columns import Record
from pipeline.schema import Serving
from pipeline.settings import load_settings
from serving import cors, predictor, records, replies
from serving.faults import Faults
from serving.observe import tracing
from serving.observe.log import Log, id_fields, ids_of, logger
from serving.observe.metrics import Metrics
from serving.predictor import Scores
from serving.protocols import about, instances, mlflow, open_inference, openapi
from serving.protocols.routes import Headers, Model, Route
from serving.replies import Problem, Reply

SAMPLE = 50  # recorded requests: what the values of a regression usually are
EXAMPLES = 5  # of them, in /openapi.json
WAIT_SECONDS = 0.001  # that an answer may keep others on the same event loop waiting; a thread's turn is 0.005
TRIES = 3
ROOT = Path(__file__).parent.parent

Answer = tuple[int, Headers, bytes]  # status, header fields, body


class Request(msgspec.Struct, frozen=True, gc=False):
    """One that is being answered."""

    method: str
    path: str
    headers: Headers
    began: float  # by perf_counter


class Service(msgspec.Struct, frozen=True):
    bundle: Bundle
    limits: Serving
    routes: dict[tuple[str, str], Route]  # by method and path
    scrape: Route  # GET /metrics, which is Flask's
    readiness: about.Readiness
    metrics: Metrics
    faults: Faults
    logs: list[Log]  # of each request that was answered

    def begin(self, method: str, path: str, headers: Headers) -> Request:
        """Counts a request as under way."""
        self.metrics.begin()
        return Request(method, path, headers, perf_counter())

    def end(self, request: Request, status: int, rows: int = 0, route: str | None = None) -> Headers:
        """Counts, times and logs a request that was answered; the header fields that name it."""
        ids, seconds = ids_of(request.headers), perf_counter() - request.began
        self.metrics.end(request.path if route is None else route, status, seconds, rows)
        for log in self.logs:
            log(request.method, request.path, status, seconds, rows, ids)
        names = id_fields(ids)
        if self.limits.cors_origins:
            names += cors.fields(self.limits.cors_origins, request.method, request.headers)
        return names

    def finish(self, request: Request, reply: Reply) -> Answer:
        """Ends a request with a reply; what goes to the client."""
        names = self.end(request, reply.status, reply.rows)
        return reply.status, replies.fields(reply) + names, reply.body


def bundle_folder() -> Path:
    """The folder that BUNDLE in the environment names, else bundle/ of the project."""
    return Path(os.environ.get("BUNDLE") or ROOT / "bundle")


def load(bundle: Path | None = None) -> Service:
    """The service for the bundle in a folder (default: `bundle_folder`).

    Raises BundleError where the bundle cannot be served, SettingsError where pipeline.toml is wrong.
    """
    folder = bundle or bundle_folder()
    settings = load_settings(ROOT)
    limit = settings.serving
    loaded, predict = predictor.load(folder, settings.training.trusted)
    decode = records.Decoder(loaded.contract, limit)
    faults = Faults()

    with (folder / "requests.jsonl").open("rb") as file:
        sample = [line.strip() for line in islice(file, min(SAMPLE, limit.max_rows))]
    # The first call of a runtime is its slowest, and a model that cannot answer must not say it is ready.
    scores = predict(decode.body(b'{"instances":[' + b",".join(sample) + b"]}"))
    quick = loaded.card.runtime == "onnx"  # scikit-learn's calls are the user's code, and wait for each other
    inline = _inline_bytes(lambda body: predict(decode.body(body)), sample[0]) if quick else -1
    model_answer = predict if quick else predictor.together(predict, limit.max_rows)
    values = [] if loaded.contract.classes else [row[0] for row in scores]
    deciles = statistics.quantiles(values, n=10) if len(values) > 1 else []

    def answer(asked: Sequence[Record]) -> Scores:
        if faults and not faults.strike():
            raise Problem(500, "Internal Server Error", "MLOPS_FAULT_ERROR_SHARE is set")
        scores = model_answer(asked)
        metrics.predicted(scores)
        return scores

    examples = [msgspec.json.decode(line) for line in sample[:EXAMPLES]]
    most = limit.max_body_bytes
    model = Model(loaded.card, loaded.contract, decode, answer, min(inline, most), most, examples)
    lenient = records.Decoder(loaded.contract, limit, lenient=True)
    routes = [*instances.routes(model), *open_inference.routes(model), *mlflow.routes(model._replace(decode=lenient))]
    readiness = about.Readiness()
    routes += [*about.routes(model, loaded.folder, readiness), *(about.pages() if limit.page else ())]
    paths = [*(route.path for route in routes), openapi.PATH]
    metrics = Metrics(loaded, paths, settings.perf, deciles)
    scrape = about.scrape(metrics.exposition)
    tested = about.load_test(loaded.card, os.environ, ROOT / "reports")
    routes.append(openapi.route(loaded, limit, [*routes, scrape], tested))
    table = {(route.method, route.path): route for route in routes}
    trace = tracing.tracer(loaded.card.name)
    logs = [logger(limit.access_log), *([trace] if trace else [])]
    return Service(loaded, limit, table, scrape, readiness, metrics, faults, logs)


def _inline_bytes(answer: Callable[[bytes], object], record: bytes) -> int:
    """How large a body may be that an event loop answers itself, as measured on one record."""
    body, took = b'{"instances":[' + record + b"]}", []
    for _ in range(TRIES):
        started = perf_counter()
        answer(body)
        took.append(perf_counter() - started)
    records = WAIT_SECONDS / min(took)
    return int(records * len(body)) if records >= 1 else -1
