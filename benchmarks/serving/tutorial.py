"""The peer: scikit-learn behind Flask as tutorials show it, with the very estimator that the project trained."""

import os

import mlflow.sklearn
import pandas as pd
from flask import Flask, jsonify, request

app = Flask(__name__)
pipeline = mlflow.sklearn.load_model(os.environ["MODEL_URI"])


@app.post("/predict")
def predict():  # type: ignore[no-untyped-def]
    frame = pd.DataFrame(request.get_json()["instances"])
    probabilities = pipeline.predict_proba(frame)
    return jsonify({"predictions": probabilities.tolist()})
