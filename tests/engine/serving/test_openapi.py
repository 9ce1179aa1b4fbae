"""serving.protocols.openapi: what it says is so, on the running service, for requests made from it."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.settings import load_settings
from tests.engine.conftest import PROJECT
from tests.engine.serving.conftest import Service

# What the description cannot say: that `data` of a tensor is as long as its shape, and rows of a frame as its columns.
# The list of models is the same, whatever is sent.
UNSAID = ("/infer", "/invocations", "/index")
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(name="service", scope="module")
def _service(serve_module: Callable[..., Service]) -> Service:
    return serve_module(WEB_CONCURRENCY="2", MLOPS_SERVING__ACCESS_LOG="off")


QUICK = settings(
    max_examples=15,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_the_service_does_what_its_description_says(service: Service) -> None:
    """Right requests are taken, wrong ones refused, with the statuses, types and schemas that are written there."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert len(operations) >= 20
    for operation in operations:
        post = operation.method == "post"
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if post else (GenerationMode.POSITIVE,):
            checks = list(CHECKS)
            if post and not operation.path.endswith(UNSAID):
                checks.append(positive_data_acceptance if mode is GenerationMode.POSITIVE else negative_data_rejection)

            conforms(operation.as_strategy(mode), checks)


def conforms(cases: Any, checks: list[Any]) -> None:
    """Makes requests and checks the answers."""

    @QUICK
    @given(cases)
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=checks)

    ask()


def test_the_examples_are_answered(client: FlaskClient) -> None:
    """Real requests, each with the answer that its schema says."""
    description = client.get("/openapi.json").json
    assert description is not None
    count = 0
    for path, methods in description["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        for media, found in content.items():
            for example in found.get("examples", {}).values():
                request = json.dumps(example["value"])
                jsonschema_rs.validate(found["schema"] | {"components": description["components"]}, example["value"])
                answer = client.post(path, data=request, content_type=media)
                assert answer.status_code == 200, (path, answer.data)
                schema = methods["post"]["responses"]["200"]["content"]["application/json"]["schema"]
                jsonschema_rs.validate(schema | {"components": description["components"]}, answer.json)
                count += 1
    assert count >= 6


def test_what_is_too_large_is_answered_as_described(client: FlaskClient) -> None:
    """In the form of the path's own protocol."""
    description = client.get("/openapi.json").json
    assert description is not None
    large = b" " * (load_settings(PROJECT).serving.max_body_bytes + 1)
    for path in [path for path, methods in description["paths"].items() if "post" in methods]:
        answer = client.post(path, data=large)
        assert answer.status_code == 413
        ((media, found),) = description["paths"][path]["post"]["responses"]["413"]["content"].items()
        assert answer.content_type == media, path
        jsonschema_rs.validate(found["schema"] | {"components": description["components"]}, answer.json)


def test_every_route_is_described(client: FlaskClient) -> None:
    """All of them but the pages."""
    description = client.get("/openapi.json").json
    assert description is not None
    described = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    rules = {(m, rule.rule) for rule in client.application.url_map.iter_rules() for m in rule.methods or ()}
    pages = {rule for _, rule in rules if rule.startswith("/page/")} | {"/", "/docs"}
    assert {(m, rule) for m, rule in rules if m not in ("HEAD", "OPTIONS") and rule not in pages} == described
