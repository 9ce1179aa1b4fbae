"""scikit-learn behind LitServe, as its quick start has it."""

import os
from typing import Any

import joblib
import litserve
import pandas as pd


class Model(litserve.LitAPI):
    def setup(self, _device: str) -> None:
        self.pipeline = joblib.load(os.environ["MODEL"])

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"predictions": self.pipeline.predict_proba(pd.DataFrame(request["instances"])).tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Model(), accelerator="cpu", workers_per_device=int(os.environ["WORKERS"]))
    server.run(port=int(os.environ["PORT"]), host="127.0.0.1", num_api_servers=1, generate_client_file=False)
