"""A booster behind FastAPI, as one writes it who minds the time: no frame, its texts looked up, one row of NumPy."""

import os
from typing import Any

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

from model.data import derive

app = FastAPI()
first, last = joblib.load(os.environ["MODEL"]).named_steps.values()
last = getattr(last, "estimator_", last)  # XGBoost's takes codes for labels
names = first.numbers_ + first.texts_
if hasattr(last, "named_steps"):
    columns, booster = last.named_steps.values()
    texts, _ = columns._transformer_to_input_indices.values()
    names = [names[n] for indices in columns._transformer_to_input_indices.values() for n in indices]
    categories = columns.named_transformers_["ordinalencoder"].categories_
    codes = {names[n]: {text: code for code, text in enumerate(own)} for n, own in enumerate(categories)}
else:
    booster, codes = last, {}


class Body(BaseModel):
    instances: list[dict[str, Any]]


def row(record: dict[str, Any]) -> list[Any]:
    derived = derive(record)
    values: list[Any] = []
    for name in names:
        value = derived[name]
        if name in codes:
            values.append(codes[name].get(value or "", -1))
        else:
            gap = "" if name in first.texts_ else np.nan
            values.append(gap if value is None else value)
    return values


@app.post("/predict")
def predict(body: Body):  # type: ignore[no-untyped-def]
    rows = [row(record) for record in body.instances]
    return {"predictions": booster.predict_proba(np.array(rows, np.float32) if codes else rows).tolist()}
