"""POST /predict: {"instances": [{field: value}]} to {"predictions": [...], "model": {...}}."""

import msgspec

from serving.predictor import Scores
from serving.protocols.routes import Headers, Model, Routes, handler
from serving.replies import JSON, Reply


def routes(model: Model) -> Routes:
    decode, predict, classes = model.decode.body, model.predict, model.contract.classes
    who = {"name": model.card.name, "version": model.card.version}
    encode = msgspec.json.Encoder().encode

    def answer(body: bytes, _: Headers) -> Reply:
        scores = predict(decode(body))
        document = {"predictions": predictions(scores, classes), "model": who}
        return Reply(200, JSON, encode(document), len(scores))

    return {("POST", "/predict"): handler(answer)}


def predictions(scores: Scores, classes: list[str]) -> list[dict[str, object]]:
    """An object for each row: the likeliest class and the probabilities of all, or the value."""
    if not classes:
        return [{"value": row[0]} for row in scores]
    return [
        {"label": classes[row.index(max(row))], "probabilities": dict(zip(classes, row, strict=True))} for row in scores
    ]
