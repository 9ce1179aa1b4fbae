"""Prints, as JSON, held-out rows as a client sends them, and what the pipeline in MLflow's registry makes of them.

    python …/registered.py 200      in a trained project, whose own code it imports

A program of its own: the process of the tests has imported other code than that project's.
"""

import json
import sys

import mlflow.sklearn

from pipeline.settings import load_settings
from pipeline.transformer import records
from training.dataset import read
from training.onnx.comparison import predict
from training.registry import CANDIDATE, connect

settings = load_settings()
frame = read(settings.data, settings.training.holdout).held_out.frame.head(int(sys.argv[1]))
connect(settings.project.name)
pipeline = mlflow.sklearn.load_model(f"models:/{settings.project.name}@{CANDIDATE}")
print(json.dumps({"rows": records(frame), "expected": predict(pipeline, frame).tolist()}))
