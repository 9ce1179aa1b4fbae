"""What is wrong, in the form that the clients of a path know: their protocol's, or RFC 9457 problem details."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from serving import replies
from serving.protocols.schema import TEXT, Schema, fields, ref
from serving.replies import JSON, PROBLEM, Problem, Reply


class Form(NamedTuple):
    reply: Callable[[Problem], Reply]
    schema: Schema
    media: str = JSON


def of_kserve(problem: Problem) -> Reply:
    return Reply(problem.status, JSON, msgspec.json.encode({"error": problem.detail}))


def of_open_inference(problem: Problem) -> Reply:
    # The protocol's own servers answer what is wrong with a request with 400.
    status = 400 if problem.status == 422 else problem.status
    return Reply(status, JSON, msgspec.json.encode({"error": problem.detail}))


def of_mlflow(problem: Problem) -> Reply:
    code = "BAD_REQUEST" if problem.status < 500 else "INTERNAL_ERROR"
    # MLflow's server knows no 422: what does not fit the model's signature is a bad request.
    status = 400 if problem.status == 422 else problem.status
    return Reply(status, JSON, msgspec.json.encode({"error_code": code, "message": problem.detail}))


USUAL = Form(replies.of_problem, ref("Problem"), PROBLEM)
FORMS = {  # by how a path begins
    "/v1/models": Form(of_kserve, fields(error=TEXT)),
    "/v2": Form(of_open_inference, fields(error=TEXT)),
    "/invocations": Form(of_mlflow, fields(error_code=TEXT, message=TEXT)),
}


def form(path: str) -> Form:
    """Of the protocol that has a path, whether there is a route or not."""
    return next((form for prefix, form in FORMS.items() if path.startswith(prefix)), USUAL)
