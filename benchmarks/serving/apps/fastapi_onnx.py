"""The same ONNX session behind FastAPI with a pydantic body: what a performance-minded user writes."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel, create_model

from pipeline import bundle
from pipeline.columns import MATRIX, derived, from_metadata, packer

app = FastAPI()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
loaded = bundle.read(Path(os.environ["BUNDLE"]))
session = onnxruntime.InferenceSession(loaded.model, options, providers=["CPUExecutionProvider"])
pack = packer(from_metadata(session.get_modelmeta().custom_metadata_map) or [])
kinds = {"number": float, "text": str}
fields: dict[str, Any] = {field.name: (kinds[field.type] | None, ...) for field in loaded.contract.fields}
Record: type[BaseModel] = create_model("Record", **fields)


class Body(BaseModel):
    instances: list[Record]  # type: ignore[valid-type]


@app.post("/predict")
async def predict(body: Body):  # type: ignore[no-untyped-def]
    rows = derived([record.model_dump() for record in body.instances])
    scores = np.asarray(session.run(None, {MATRIX: pack(rows)})[0])
    return {"predictions": [dict(zip(loaded.contract.classes, row, strict=True)) for row in scores.tolist()]}
