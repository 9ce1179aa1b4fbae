"""The service in OpenAPI 3.1, made from the contract, with real requests as examples: GET /openapi.json."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.bundle import Bundle
from pipeline.contract import LARGEST, Field
from serving.limits import Limits
from serving.protocols.open_inference import NUMBERS

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
PROBLEM = "application/problem+json"
EXAMPLES = 5


def document(bundle: Bundle, limits: Limits, requests: list[bytes], release: str) -> Schema:
    """The description. `requests`: records as lines of JSON; `release`: what a load test said of the model, if any."""
    name = bundle.card.name
    records = [msgspec.json.decode(line) for line in requests[:EXAMPLES]]
    paths = _predictions(records) | _kserve(name, records) | _open_inference(bundle, records) | _mlflow(records)
    paths |= _about()
    info = {"title": name, "version": bundle.card.version, "description": _about_model(bundle)}
    return {
        "openapi": "3.1.0",
        "info": info | ({"x-release": release} if release else {}),
        "paths": paths,
        "components": {"schemas": _schemas(bundle, limits)},
    }


def _about_model(bundle: Bundle) -> str:
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in bundle.card.metrics.items())
    return f"A {bundle.card.task} model, trained on {bundle.card.created[:10]} ({metrics} on held-out rows)."


def _schemas(bundle: Bundle, limits: Limits) -> dict[str, Schema]:
    contract = bundle.contract
    rows = {"minItems": 1, "maxItems": limits.max_rows}
    prediction: Schema = _object({"value": {"type": "number"}})
    if contract.classes:
        probabilities = {each: {"type": "number", "minimum": 0, "maximum": 1} for each in contract.classes}
        prediction = _object({"label": {"enum": contract.classes}, "probabilities": _object(probabilities)})
    fields = {field.name: _value(field) for field in contract.fields}
    record: Schema = {
        "type": "object",
        "properties": fields | {unused: {"description": "not used by the model"} for unused in contract.unused},
        "required": list(fields),
        "additionalProperties": limits.unknown_fields == "ignore",
    }
    error: Schema = {
        "type": "object",
        "properties": {"row": {"type": "integer"}, "field": TEXT, "detail": TEXT},
        "required": ["row", "detail"],
    }
    problem = _object({"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT})
    problem["properties"]["errors"] = {"type": "array", "items": error}
    tensor = _object({"name": TEXT, "shape": {"type": "array", "items": {"type": "integer"}}, "datatype": TEXT})
    tensor["properties"] |= {"data": {"type": "array"}, "parameters": {"type": "object"}}
    return {
        "Record": record,
        "Records": {"type": "array", "items": _ref("Record"), **rows},
        "Instances": _object({"instances": _ref("Records")}),
        "Prediction": prediction,
        "Predictions": _object(
            {
                "predictions": {"type": "array", "items": _ref("Prediction")},
                "model": _object({"name": TEXT, "version": TEXT}),
            }
        ),
        "Problem": problem,
        "Tensor": tensor,
    }


def _value(field: Field) -> Schema:
    kinds = ["number" if field.type == "number" else "string", *(["null"] if field.nullable else [])]
    found: Schema = {"type": kinds if field.nullable else kinds[0]}
    if field.type == "number":
        return found | {"minimum": -LARGEST, "maximum": LARGEST}
    return found | ({"examples": field.categories[:10]} if field.categories else {})


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: Schema, media: str = "application/json", examples: Mapping[str, Any] | None = None) -> Schema:
    of_media: Schema = {"schema": schema}
    if examples:
        of_media["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {media: of_media}


def _answers(good: Schema, error: Schema, media: str = "application/json") -> Schema:
    """The responses of an operation that predicts."""
    wrong = {"description": "What is wrong, and where.", "content": _content(error, media)}
    too_much = {"description": "More than the service takes.", "content": _content(_ref("Problem"), PROBLEM)}
    answers: Schema = {"200": {"description": "The predictions.", "content": good}}
    return answers | dict.fromkeys(("400", "415", "422"), wrong) | dict.fromkeys(("408", "413", "503"), too_much)


def _predict(summary: str, tag: str, body: Schema, responses: Schema) -> Schema:
    request = {"required": True, "content": body}
    return {"post": {"summary": summary, "tags": [tag], "requestBody": request, "responses": responses}}


def _get(summary: str, tag: str, content: Schema) -> Schema:
    answer = {"200": {"description": summary, "content": content}}
    return {"get": {"summary": summary, "tags": [tag], "responses": answer}}


def _predictions(records: list[Any]) -> Schema:
    examples = {"one record": {"instances": records[:1]}, "several records": {"instances": records}}
    responses = _answers(_content(_ref("Predictions")), _ref("Problem"), PROBLEM)
    body = _content(_ref("Instances"), examples=examples)
    return {"/predict": _predict("Predict", "predictions", body, responses)}


def _kserve(name: str, records: list[Any]) -> Schema:
    tag, error = "KServe V1", _object({"error": TEXT})
    body = _content(_ref("Instances"), examples={"one record": {"instances": records[:1]}})
    ready = _object({"name": TEXT, "ready": {"type": "boolean"}})
    return {
        "/v1/models": _get("The models", tag, _content(_object({"models": {"type": "array", "items": TEXT}}))),
        f"/v1/models/{name}": _get("Whether the model is ready", tag, _content(ready)),
        f"/v1/models/{name}:predict": _predict("Predict", tag, body, _answers(_content(_ref("Predictions")), error)),
    }


def _open_inference(bundle: Bundle, records: list[Any]) -> Schema:
    tag, name, error = "Open Inference Protocol", bundle.card.name, _object({"error": TEXT})
    inputs = [
        {
            "name": field.name,
            "shape": [len(records)],
            "datatype": "FP64" if field.type == "number" else "BYTES",
            "data": [record[field.name] for record in records],
        }
        for field in bundle.contract.fields
    ]
    tensor = _object(
        {
            "name": {"enum": [field.name for field in bundle.contract.fields]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": [*NUMBERS, "BYTES"]},
            "data": {"type": "array"},
        }
    )
    request = _object({"inputs": {"type": "array", "items": tensor, "minItems": len(inputs)}})
    request["properties"] |= {"id": TEXT, "parameters": {"type": "object"}}
    answer = _object({"model_name": TEXT, "outputs": {"type": "array", "items": _ref("Tensor")}})
    answer["properties"] |= {"model_version": TEXT, "id": TEXT}
    body = _content(request, examples={"columns": {"inputs": inputs}})
    anything = _content({"type": "object"})
    paths = {
        "/v2": _get("The server", tag, anything),
        "/v2/health/live": _get("Whether it is alive", tag, anything),
        "/v2/health/ready": _get("Whether it is ready", tag, anything),
    }
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{bundle.card.version}"):
        paths[path] = _get("Inputs and outputs of the model", tag, anything)
        paths[f"{path}/ready"] = _get("Whether the model is ready", tag, anything)
        paths[f"{path}/infer"] = _predict("Predict", tag, body, _answers(_content(answer), error))
    return paths


def _mlflow(records: list[Any]) -> Schema:
    tag, error = "MLflow", _object({"error_code": TEXT, "message": TEXT})
    split = {"columns": list(records[0]), "data": [list(record.values()) for record in records]}
    by_column = {"type": "object", "additionalProperties": {"type": "array"}}
    split_schema = _object(
        {"columns": {"type": "array", "items": TEXT}, "data": {"type": "array", "items": {"type": "array"}}}
    )
    forms = {"dataframe_records": _ref("Records"), "instances": _ref("Records"), "dataframe_split": split_schema}
    forms["inputs"] = {"anyOf": [_ref("Records"), by_column]}
    request: Schema = {"oneOf": [_object({form: schema}) for form, schema in forms.items()]}
    examples = {"dataframe_split": {"dataframe_split": split}, "dataframe_records": {"dataframe_records": records}}
    body = _content(request, examples=examples)
    answer = _object({"predictions": {"type": "array", "items": {"type": ["string", "number"]}}})
    plain = _content(TEXT, "text/plain")
    return {
        "/invocations": _predict("Predict", tag, body, _answers(_content(answer), error)),
        "/ping": _get("Whether the service is there", tag, plain),
        "/health": _get("Whether the service is there", tag, plain),
        "/version": _get("The MLflow that registered the model", tag, plain),
    }


def _about() -> Schema:
    tag = "about"
    status = _content(_object({"status": TEXT}))
    return {
        "/livez": _get("Whether the service is alive", tag, status),
        "/readyz": _get("Whether the service is ready", tag, status),
        "/model": _get("The card of the model", tag, _content({"type": "object"})),
        "/openapi.json": _get("This description", tag, _content({"type": "object"})),
        "/metrics": _get("Counts for Prometheus", tag, _content(TEXT, "text/plain")),
    }
