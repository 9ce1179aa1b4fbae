"""The model of a bundle, ready to answer: ONNX Runtime where the pipeline converted, scikit-learn where not."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bundle import Bundle, BundleError, code_digest, read
from pipeline.columns import Record, arrays, derived
from pipeline.contract import Contract

Array = np.ndarray[Any, Any]
Predictor = Callable[[Sequence[Record]], list[dict[str, Any]]]


class Unanswerable(ValueError):
    """The model has no answer to records that the contract allows; the message names the row, where one is to blame."""


def check(folder: Path) -> Bundle:
    """The bundle in `folder`, if it can be served here. Raises BundleError, which says what to do.

    Loads no runtime: gunicorn's master calls this, and a runtime with threads does not survive the fork to a worker.
    """
    bundle = read(folder)
    here = Path(__file__).parent.parent / "src" / "model"
    if code_digest(here) != bundle.card.code_sha256:
        raise BundleError(
            f"{folder}: {bundle.card.name} version {bundle.card.version} was trained with other code than what is in "
            "src/model now; run `make train`"
        )
    library = {"onnx": "onnxruntime", "sklearn": "sklearn"}[bundle.card.runtime]
    if find_spec(library) is None:
        raise BundleError(f"{folder}: {library} serves this model, and it is not installed; run `make setup`")
    return bundle


def load(folder: Path) -> tuple[Bundle, Predictor]:
    """The bundle in `folder` and the function from records to predictions. Raises BundleError."""
    bundle = check(folder)
    score = _onnx(bundle) if bundle.card.runtime == "onnx" else _sklearn(bundle)
    return bundle, _predictor(bundle.contract, score)


def _onnx(bundle: Bundle) -> Callable[[dict[str, Array]], Array]:
    import onnxruntime  # noqa: PLC0415  the image has one runtime or the other

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers are the parallelism; more threads collide
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(bundle.model, options, providers=["CPUExecutionProvider"])
    names = [session.get_outputs()[0].name]

    def score(columns: dict[str, Array]) -> Array:
        result: Array = session.run(names, columns)[0]
        return result

    return score


def _sklearn(bundle: Bundle) -> Callable[[dict[str, Array]], Array]:
    import joblib  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    estimator = joblib.load(bundle.model)
    answer = estimator.predict_proba if bundle.contract.task == "classification" else estimator.predict

    def score(columns: dict[str, Array]) -> Array:
        frame = pd.DataFrame({name: array[:, 0] for name, array in columns.items()})
        return np.asarray(answer(frame))

    return score


def _predictor(contract: Contract, score: Callable[[dict[str, Array]], Array]) -> Predictor:
    columns, classes = contract.columns, contract.classes

    def answer(records: Sequence[Record]) -> Array:
        try:
            values = score(arrays(derived(records), columns))
        except ValueError as error:  # of `derive`, or of a scikit-learn step that meets what it never saw
            raise Unanswerable(" ".join(str(error).split())[:300]) from error
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.argwhere(~finite)[0][0])
            raise Unanswerable(f"row {row}: the model's answer is not a finite number")
        return values

    def classify(records: Sequence[Record]) -> list[dict[str, Any]]:
        probabilities = answer(records)
        winners = probabilities.argmax(axis=1).tolist()
        return [
            {"label": classes[winner], "probabilities": dict(zip(classes, row, strict=True))}
            for winner, row in zip(winners, probabilities.tolist(), strict=True)
        ]

    def estimate(records: Sequence[Record]) -> list[dict[str, Any]]:
        return [{"value": value} for value in answer(records).reshape(-1).tolist()]

    return classify if contract.task == "classification" else estimate
