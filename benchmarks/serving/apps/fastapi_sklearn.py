"""scikit-learn behind FastAPI, as its users write it."""

import os
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
pipeline = joblib.load(os.environ["MODEL"])


class Body(BaseModel):
    instances: list[dict[str, Any]]


@app.post("/predict")
def predict(body: Body):  # type: ignore[no-untyped-def]
    return {"predictions": pipeline.predict_proba(pd.DataFrame(body.instances)).tolist()}
