"""scikit-learn behind BentoML, as its quick start has it."""

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=int(os.environ["WORKERS"]), traffic={"timeout": 30})
class Model:
    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["MODEL"])

    @bentoml.api
    def predict(self, instances: list[dict[str, Any]]) -> dict[str, Any]:
        return {"predictions": self.pipeline.predict_proba(pd.DataFrame(instances)).tolist()}
