"""What a protocol is given, and what it gives: a table of replies and handlers."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from pipeline.bundle import Card
from pipeline.contract import Contract
from serving.predictor import Predictor
from serving.records import Decoder
from serving.replies import Problem, Reply, of_problem

Headers = list[tuple[bytes, bytes]]  # names in lower case
Handler = Callable[[bytes, Headers], Reply]  # the body; raises nothing
Routes = dict[tuple[str, str], Reply | Handler]  # by method and path; a reply is always the same


class Model(NamedTuple):
    card: Card
    contract: Contract
    decode: Decoder
    predict: Predictor  # raises Problem


def header(headers: Headers, name: bytes) -> str:
    """The value of a header, empty where it is not there."""
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def handler(answer: Handler, of_problem: Callable[[Problem], Reply] = of_problem) -> Handler:
    """A handler out of a function that raises Problem, with the protocol's own form of errors."""

    def handle(body: bytes, headers: Headers) -> Reply:
        try:
            return answer(body, headers)
        except Problem as problem:
            coding = header(headers, b"content-encoding").lower()
            if problem.status == 400 and coding not in ("", "identity"):
                detail = f"the body is encoded as {coding[:50]!r}, which is not taken; send it as it is"
                problem = Problem(415, "Unsupported Media Type", detail)
            return of_problem(problem)
        except Exception:
            logging.getLogger(__name__).exception("a request of %d bytes", len(body))
            return of_problem(Problem(500, "Internal Server Error", "the service failed; its log says how"))

    return handle
