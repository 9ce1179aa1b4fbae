"""The service in OpenAPI 3.1, made from its routes and its contract, with real requests as examples."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from pipeline.bundle import LARGEST, Bundle, Contract, Field
from pipeline.schema import Serving
from pipeline.values import written
from serving.fields import may_be_missing
from serving.protocols.routes import REFERENCE, TEXT, Body, Route, Schema, array, constant, errors, fields, ref
from serving.replies import JSON, Reply, as_json

PATH = "/openapi.json"
STATUSES = {
    "What is wrong, and where.": ("400", "415", "422"),
    "More than the service takes.": ("408", "413", "503"),
}


def route(bundle: Bundle, limits: Serving, routes: Sequence[Route], load_test: str) -> Route:
    """GET /openapi.json, which describes itself as well. `load_test`: what one said of the model, if any."""
    own = constant(PATH, Reply(200, JSON, b""), "This description", "about")
    card = bundle.card
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in card.metrics.items())
    about = f"A {card.task} model, trained on {card.created[:10]} ({metrics} on held-out rows)."
    info = {"title": card.name, "version": card.version, "description": about}
    structs = [body for each in routes for body in (each.request, each.response) if isinstance(body, type)]
    _, components = msgspec.json.schema_components(structs, ref_template=REFERENCE)
    paths: Schema = {}
    for each in [*routes, own]:
        if each.summary:
            paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    document = {
        "openapi": "3.1.0",
        "info": info | ({"x-release": load_test} if load_test else {}),
        "paths": paths,
        "components": {"schemas": _schemas(bundle.contract, limits) | components},
    }
    reply = as_json(document)
    return msgspec.structs.replace(own, answer=lambda _body, _headers: reply)


def _operation(route: Route) -> Schema:
    good = {"description": "The answer.", "content": {route.media: {"schema": _schema(route.response)}}}
    operation: Schema = {"summary": route.summary, "tags": [route.tag], "responses": {"200": good}}
    if route.request is not None:
        examples = {name: {"value": value} for name, value in route.examples.items()}
        content = {"schema": _schema(route.request), "examples": examples}
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
        form = errors(route.path)
        for description, statuses in STATUSES.items():
            error = {"description": description, "content": {form.media: {"schema": form.schema}}}
            operation["responses"] |= dict.fromkeys(statuses, error)
    return operation


def _schema(body: Body) -> Schema:
    return ref(body.__name__) if isinstance(body, type) else body


def _schemas(contract: Contract, limits: Serving) -> dict[str, Schema]:
    prediction = fields(value={"type": "number"})
    if contract.classes:
        probabilities = {name: {"type": "number", "minimum": 0, "maximum": 1} for name in contract.classes}
        prediction = fields(label={"enum": contract.classes}, probabilities=fields(**probabilities))
    record = fields(**{field.name: _value(field, limits) for field in contract.fields})
    record["properties"] |= {unused: {"description": "not used by the model"} for unused in contract.unused}
    record["additionalProperties"] = limits.unknown_fields == "ignore"
    error = fields(row={"type": "integer"}, detail=TEXT)
    error["properties"]["field"] = TEXT
    problem = fields(type=TEXT, title=TEXT, status={"type": "integer"}, detail=TEXT)
    problem["properties"]["errors"] = array(error)
    records = array(ref("Record"), minItems=1, maxItems=limits.max_rows)
    return {"Record": record, "Records": records, "Prediction": prediction, "Problem": problem}


def _value(field: Field, limits: Serving) -> Schema:
    kind = {"date": "string", "text": "string"}.get(field.type, field.type)
    schema: Schema = {"type": [kind, "null"] if may_be_missing(field, limits.gaps == "answer") else kind}
    if field.type == "number":
        return schema | {"minimum": -LARGEST, "maximum": LARGEST}
    if field.type == "date":
        now = datetime(2024, 1, 31)
        return schema | {"description": "a date, with its time if it has one", "examples": [written(now, field.format)]}
    return schema | ({"examples": field.categories[:10]} if field.categories else {})
