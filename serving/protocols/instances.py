"""{"instances": [{field: value}]}: POST /predict, a custom container of Vertex AI, and KServe's V1 protocol.

https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from serving.predictor import Scores
from serving.protocols.routes import FLAG, TEXT, Headers, Model, Route, array, constant, fields, plain, prediction, ref
from serving.records import UNREADABLE
from serving.replies import JSON, Reply, as_json

INSTANCES = fields(instances=ref("Records"))
PREDICTIONS = fields(predictions=array(ref("Prediction")), model=fields(name=TEXT, version=TEXT))
READY = fields(name=TEXT, ready=FLAG)


def routes(model: Model, environment: Mapping[str, str] = os.environ) -> list[Route]:
    decode, predict, predictions = model.decode.body, model.predict, formatter(model.contract.classes)
    who = {"name": model.card.name, "version": model.card.version}
    encode = msgspec.json.Encoder().encode

    def answer(body: bytes, _: Headers) -> Reply:
        scores = predict(decode(body))
        document = {"predictions": predictions(scores), "model": who}
        return Reply(200, JSON, encode(document), len(scores))

    name = model.card.name
    one, several = {"instances": model.examples[:1]}, {"instances": model.examples}
    examples = {"one record": one, "several records": several}

    def predict_at(path: str, tag: str) -> Route:
        return prediction(model, path, answer, tag, INSTANCES, PREDICTIONS, examples)

    kserve, vertex, ready = "KServe V1", "Vertex AI", "Whether the model is ready"
    table = [
        predict_at("/predict", "predictions"),
        constant("/v1/models", as_json({"models": [name]}), "The models", kserve, fields(models=array(TEXT))),
        constant(f"/v1/models/{name}", as_json({"name": name, "ready": True}), ready, kserve, READY),
        predict_at(f"/v1/models/{name}:predict", kserve),
    ]
    # Vertex AI names its routes in the environment of the container.
    if path := environment.get("AIP_PREDICT_ROUTE"):
        table.append(predict_at(plain(path), vertex))
    if path := environment.get("AIP_HEALTH_ROUTE"):
        table.append(constant(plain(path), as_json({"status": "ready"}), ready, vertex, fields(status=TEXT)))
    return table


def formatter(classes: list[str]) -> Callable[[Scores], list[Any]]:
    """A function to an object for each row: the likeliest class and the probabilities of all, or the value."""
    if not classes:
        return lambda scores: [{"value": row[0]} for row in scores]
    if any(map(UNREADABLE.search, classes)):
        return lambda scores: [
            {"label": classes[row.index(max(row))], "probabilities": dict(zip(classes, row, strict=True))}
            for row in scores
        ]
    # Structs take a third of the time of dicts, to make and to write.
    names = {f"class{n}": name for n, name in enumerate(classes)}
    of_classes = msgspec.defstruct("Probabilities", [(name, float) for name in names], rename=names, gc=False)
    prediction = msgspec.defstruct("Prediction", [("label", str), ("probabilities", of_classes)], gc=False)
    return lambda scores: [prediction(classes[row.index(max(row))], of_classes(*row)) for row in scores]
