"""Pictures of how good a model is on the held-out part, over those of the champion."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics as m
from sklearn.calibration import CalibrationDisplay

from training.quality.metrics import Answers
from training.quality.report import CURVES

MOST = 10  # curves in a picture
Array = np.ndarray[Any, Any]


def curves(answers: Answers, champion: Answers | None = None) -> dict[str, Figure]:
    """By file name: ROC, precision-recall and calibration; of a regression, predicted values and residuals."""
    versions = {"candidate": answers} | ({"champion": champion} if champion else {})
    return _classification(versions) if len(answers.classes) else _regression(versions)


def save(figures: Mapping[str, Figure]) -> None:
    """Leaves them for report.html."""
    CURVES.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(CURVES / f"{name}.png", dpi=80)


def _classification(versions: dict[str, Answers]) -> dict[str, Figure]:
    truth, _, classes, positive = versions["candidate"]
    common = sorted(classes, key=lambda label: (truth == label).sum(), reverse=True)[: MOST // len(versions)]
    shown = [positive] if len(classes) == 2 else [label for label in classes if label in common]
    figures = {
        name: Figure(figsize=(6, 5), layout="constrained") for name in ("roc", "precision_recall", "calibration")
    }
    axes = {name: figure.subplots() for name, figure in figures.items()}
    for version, answers in versions.items():
        for n, label in enumerate(shown):
            hit, p = answers.truth == label, answers.given[:, list(answers.classes).index(label)]
            dashed, last = version == "champion", version == "candidate" and label == shown[-1]
            line: dict[str, Any] = {"color": f"C{n}", "linestyle": "--" if dashed else "-"}
            name = label.replace("$", r"\$")  # which begins a formula
            name = f"{name}, {version}" if len(versions) > 1 else name
            options: dict[str, Any] = {"name": name, "curve_kwargs": line}
            m.RocCurveDisplay.from_predictions(hit, p, ax=axes["roc"], plot_chance_level=last, **options)
            m.PrecisionRecallDisplay.from_predictions(hit, p, ax=axes["precision_recall"], **options)
            CalibrationDisplay.from_predictions(hit, p, n_bins=10, name=name, ax=axes["calibration"], **line)
    return figures


def _regression(versions: dict[str, Answers]) -> dict[str, Figure]:
    figures = {}
    for name, kind in (("predicted", "actual_vs_predicted"), ("residuals", "residual_vs_predicted")):
        figures[name] = Figure(figsize=(6, 5), layout="constrained")
        axes = figures[name].subplots()
        for n, (version, answers) in reversed([*enumerate(versions.items())]):  # the candidate on top
            dots = {"s": 6, "color": f"C{n}", "alpha": 0.6, "label": version}
            display = m.PredictionErrorDisplay.from_predictions
            display(answers.truth, answers.given, kind=kind, ax=axes, scatter_kwargs=dots, random_state=0)
        if len(versions) > 1:
            axes.legend()
    return figures
