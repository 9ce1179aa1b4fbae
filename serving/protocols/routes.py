"""A route: one method on one path, what answers it, and what GET /openapi.json says of it."""

import logging
import re
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from pipeline.bundle import Card, Contract
from serving import coding
from serving.predictor import Predictor
from serving.records import Decoder
from serving.replies import JSON, PROBLEM, Problem, Reply

Schema = dict[str, Any]  # JSON Schema
Headers = list[tuple[bytes, bytes]]  # names in lower case
Handler = Callable[[bytes, Headers], Reply]  # the body; raises nothing
Body = Schema | type[Struct]
ANYTHING: Schema = {"type": "object"}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
REFERENCE = "#/components/schemas/{name}"


def fields(**properties: Schema) -> Schema:
    """An object with these fields, all of them required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def ref(name: str) -> Schema:
    """What openapi.py has among its components."""
    return {"$ref": REFERENCE.format(name=name)}


class Model(NamedTuple):
    """What a protocol makes its routes of."""

    card: Card
    contract: Contract
    decode: Decoder
    predict: Predictor  # raises Problem
    inline_bytes: float  # of a body that is answered in less time than others may be kept waiting; -1: of none
    max_body_bytes: int  # of one that came compressed, when it is not any more
    examples: list[dict[str, Any]]  # real records


class Route(Struct, frozen=True):
    method: str
    path: str
    answer: Handler
    inline_bytes: float  # of a body that an event loop answers itself, without a thread
    summary: str  # empty: not described
    tag: str
    response: Body  # with 200
    media: str = JSON  # of the same
    request: Body | None = None
    examples: Mapping[str, Any] = {}  # of requests


class Errors(NamedTuple):
    """What is wrong, in the form that the clients of a path know: their protocol's, or RFC 9457 problem details."""

    document: Callable[[Problem], object]
    schema: Schema
    media: str = JSON
    unprocessable: int = 422  # the status of what is JSON, and not what the model takes

    def reply(self, problem: Problem) -> Reply:
        status = self.unprocessable if problem.status == 422 else problem.status
        return Reply(status, self.media, msgspec.json.encode(self.document(problem)), 0, problem.more)


def _of_mlflow(problem: Problem) -> dict[str, str]:
    code = "BAD_REQUEST" if problem.status < 500 else "INTERNAL_ERROR"
    return {"error_code": code, "message": problem.detail}


USUAL = Errors(Problem.document, ref("Problem"), PROBLEM)
SHORT = Errors(lambda problem: {"error": problem.detail}, fields(error=TEXT))
ERRORS = {  # by how a path begins; the servers of the last two protocols know no 422
    "/v1/models": SHORT,
    "/v2": SHORT._replace(unprocessable=400),
    "/invocations": Errors(_of_mlflow, fields(error_code=TEXT, message=TEXT), unprocessable=400),
}


def errors(path: str) -> Errors:
    """Of the protocol that has a path, whether there is a route or not."""
    return next((each for prefix, each in ERRORS.items() if path.startswith(prefix)), USUAL)


def plain(path: str) -> str:
    """A path with each run of slashes as one, and none at its end: people join base URLs and paths in many ways."""
    if "//" in path or path.endswith("/"):
        return re.sub("/+", "/", path).rstrip("/") or "/"
    return path


def constant(path: str, reply: Reply, summary: str = "", tag: str = "", response: Schema = ANYTHING) -> Route:
    """GET of what is always the same."""
    media, _, _ = reply.content_type.partition(";")
    return Route("GET", path, lambda _body, _headers: reply, inf, summary, tag, response, media)


def prediction(
    model: Model, path: str, answer: Handler, tag: str, request: Body, response: Body, examples: Mapping[str, Any]
) -> Route:
    """POST of rows to a function that raises Problem, which is answered in the form of the path's protocol."""
    form, limit = errors(path).reply, model.max_body_bytes

    def handle(body: bytes, headers: Headers) -> Reply:
        try:
            if name := header(headers, coding.HEADER):
                body = coding.decoded(body, name, limit)
            return answer(body, headers)
        except Problem as problem:
            return form(problem)
        except Exception:
            logging.getLogger(__name__).exception("a request of %d bytes", len(body))
            return form(Problem(500, "Internal Server Error", "the service failed; its log says how"))

    return Route("POST", path, handle, model.inline_bytes, "Predict", tag, response, JSON, request, examples)


def header(headers: Headers, name: bytes) -> str:
    """The value of a header, empty where it is not there."""
    for key, value in headers:  # a generator would take twice the time, and every request comes here
        if key == name:
            return value.decode("latin-1")
    return ""
