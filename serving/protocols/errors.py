"""What is wrong, in the form that the clients of a path know: their protocol's, or RFC 9457 problem details."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from serving.protocols.schema import TEXT, Schema, fields, ref
from serving.replies import JSON, PROBLEM, Problem, Reply


class Form(NamedTuple):
    document: Callable[[Problem], object]
    schema: Schema
    media: str = JSON
    unprocessable: int = 422  # the status of what is JSON, and not what the model takes

    def reply(self, problem: Problem) -> Reply:
        status = self.unprocessable if problem.status == 422 else problem.status
        return Reply(status, self.media, msgspec.json.encode(self.document(problem)))


def _of_mlflow(problem: Problem) -> dict[str, str]:
    code = "BAD_REQUEST" if problem.status < 500 else "INTERNAL_ERROR"
    return {"error_code": code, "message": problem.detail}


USUAL = Form(Problem.document, ref("Problem"), PROBLEM)
SHORT = Form(lambda problem: {"error": problem.detail}, fields(error=TEXT))
FORMS = {  # by how a path begins; the servers of the last two protocols know no 422
    "/v1/models": SHORT,
    "/v2": SHORT._replace(unprocessable=400),
    "/invocations": Form(_of_mlflow, fields(error_code=TEXT, message=TEXT), unprocessable=400),
}


def form(path: str) -> Form:
    """Of the protocol that has a path, whether there is a route or not."""
    return next((form for prefix, form in FORMS.items() if path.startswith(prefix)), USUAL)
