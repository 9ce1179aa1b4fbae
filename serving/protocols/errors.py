"""What is wrong, in the form that the clients of a path know: their protocol's, or RFC 9457 problem details."""

from collections.abc import Callable

import msgspec

from serving import replies
from serving.replies import JSON, Problem, Reply

Form = Callable[[Problem], Reply]


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


FORMS: dict[str, Form] = {"/v1/models": of_kserve, "/v2": of_open_inference, "/invocations": of_mlflow}


def form(path: str) -> Form:
    """Of the protocol that has a path, whether there is a route or not."""
    return next((of for prefix, of in FORMS.items() if path.startswith(prefix)), replies.of_problem)
