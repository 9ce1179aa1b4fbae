"""scikit-learn behind Flask, as tutorials show it, with the very estimator that the project trained."""

import os

import joblib
import pandas as pd
from flask import Flask, jsonify, request

app = Flask(__name__)
pipeline = joblib.load(os.environ["MODEL"])


@app.post("/predict")
def predict():  # type: ignore[no-untyped-def]
    frame = pd.DataFrame(request.get_json()["instances"])
    return jsonify({"predictions": pipeline.predict_proba(frame).tolist()})
