"""This service's predictor behind FastAPI, with no validation at all: what is left is the framework."""

import os
from pathlib import Path

from fastapi import FastAPI, Request, Response
from msgspec import json

from serving import predictor
from serving.protocols.instances import formatter

app = FastAPI()
bundle, answer = predictor.load(Path(os.environ["BUNDLE"]))
predictions = formatter(bundle.contract.classes)


@app.post("/predict")
async def predict(request: Request) -> Response:
    scores = answer(json.decode(await request.body())["instances"])
    document = {"predictions": predictions(scores)}
    return Response(json.encode(document), media_type="application/json")
