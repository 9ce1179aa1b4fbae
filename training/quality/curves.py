"""Pictures of how good a model is on the held-out part."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics as m
from sklearn.calibration import CalibrationDisplay

from training.quality.metrics import Answers

MOST = 10  # classes in a picture
Array = np.ndarray[Any, Any]


def curves(answers: Answers) -> dict[str, Figure]:
    """By file name: ROC, precision-recall and calibration; of a regression, predicted values and residuals."""
    return _classification(answers) if len(answers.classes) else _regression(answers)


def _classification(answers: Answers) -> dict[str, Figure]:
    truth, given, classes, positive = answers
    common = sorted(classes, key=lambda label: (truth == label).sum(), reverse=True)[:MOST]
    shown = [positive] if len(classes) == 2 else [label for label in classes if label in common]
    figures = {
        name: Figure(figsize=(6, 5), layout="constrained") for name in ("roc", "precision_recall", "calibration")
    }
    axes = {name: figure.subplots() for name, figure in figures.items()}
    for label in shown:
        hit, p = truth == label, given[:, list(classes).index(label)]
        name = label.replace("$", r"\$")  # which begins a formula
        m.RocCurveDisplay.from_predictions(hit, p, name=name, ax=axes["roc"], plot_chance_level=label == shown[-1])
        m.PrecisionRecallDisplay.from_predictions(hit, p, name=name, ax=axes["precision_recall"])
        CalibrationDisplay.from_predictions(hit, p, n_bins=10, name=name, ax=axes["calibration"])
    return figures


def _regression(answers: Answers) -> dict[str, Figure]:
    figures = {}
    for name, kind in (("predicted", "actual_vs_predicted"), ("residuals", "residual_vs_predicted")):
        figures[name] = Figure(figsize=(6, 5), layout="constrained")
        display = m.PredictionErrorDisplay.from_predictions
        options = {"scatter_kwargs": {"s": 6}, "random_state": 0}
        display(answers.truth, answers.given, kind=kind, ax=figures[name].subplots(), **options)
    return figures
