"""How good the model is on the held-out part: metrics, pictures, and the quality gate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics as m
from sklearn.calibration import CalibrationDisplay

from pipeline import schema
from pipeline.notes import Quality
from pipeline.schema import METRICS, Task

CURVES = 10  # in a picture
Array = np.ndarray[Any, Any]


def metrics(truth: Array, positive: str, answer: Array, classes: Sequence[str]) -> dict[str, float]:
    """Metrics of an answer to the held-out rows. classes: of its columns; none where it is a regression's."""
    if classes:
        return classification_metrics(truth, answer, classes, positive)
    return regression_metrics(truth, answer)


def curves(truth: Array, positive: str, answer: Array, classes: Sequence[str]) -> dict[str, Figure]:
    """Pictures of the same, by file name."""
    if classes:
        return classification_curves(truth, answer, classes, positive)
    return regression_curves(truth, answer)


def classification_metrics(
    truth: Array, probabilities: Array, classes: Sequence[str], positive: str
) -> dict[str, float]:
    """Metrics of held-out rows. Two classes: of `positive`. More: ROC AUC and average precision one against the rest.

    truth: (rows,) labels; probabilities: (rows, classes), in the order of `classes`.
    """
    if len(classes) == 2:
        hit = truth == positive
        p = probabilities[:, list(classes).index(positive)]
        return {
            "roc_auc": float(m.roc_auc_score(hit, p)),
            "average_precision": float(m.average_precision_score(hit, p)),
            "log_loss": float(m.log_loss(hit, p, labels=[False, True])),
            "brier": float(m.brier_score_loss(hit, p)),
        }
    order = np.argsort(np.asarray(classes, str))  # log_loss takes the columns as sorted by their labels
    hits = (truth[:, None] == np.asarray(classes)[None, :]).astype(int)
    sums = probabilities.sum(axis=1, keepdims=True)  # of float32, they miss 1 by more than scikit-learn lets pass
    return {
        "roc_auc": float(m.roc_auc_score(hits, probabilities)),
        "average_precision": float(m.average_precision_score(hits, probabilities)),
        "log_loss": float(m.log_loss(truth, (probabilities / sums)[:, order], labels=[classes[n] for n in order])),
        "brier": float(np.mean(np.sum((probabilities - hits) ** 2, axis=1))),
    }


def regression_metrics(truth: Array, predicted: Array) -> dict[str, float]:
    """R² (of 1), MAE and RMSE (in the target's unit) of held-out rows."""
    return {
        "r2": float(m.r2_score(truth, predicted)),
        "mae": float(m.mean_absolute_error(truth, predicted)),
        "rmse": float(m.root_mean_squared_error(truth, predicted)),
    }


def rarest(truth: Array) -> str:
    """The class with the fewest rows: what average precision looks for when pipeline.toml names none."""
    names, counts = np.unique(truth.astype(str), return_counts=True)
    return str(names[np.argmin(counts)])


def classification_curves(
    truth: Array, probabilities: Array, classes: Sequence[str], positive: str
) -> dict[str, Figure]:
    """ROC, precision-recall and calibration curves, by file name. Of many classes, those of the commonest."""
    common = sorted(classes, key=lambda label: (truth == label).sum(), reverse=True)[:CURVES]
    shown = [positive] if len(classes) == 2 else [label for label in classes if label in common]
    figures = {
        name: Figure(figsize=(6, 5), layout="constrained") for name in ("roc", "precision_recall", "calibration")
    }
    axes = {name: figure.subplots() for name, figure in figures.items()}
    for label in shown:
        hit, p = truth == label, probabilities[:, list(classes).index(label)]
        name = label.replace("$", r"\$")  # which begins a formula
        m.RocCurveDisplay.from_predictions(hit, p, name=name, ax=axes["roc"], plot_chance_level=label == shown[-1])
        m.PrecisionRecallDisplay.from_predictions(hit, p, name=name, ax=axes["precision_recall"])
        CalibrationDisplay.from_predictions(hit, p, n_bins=10, name=name, ax=axes["calibration"])
    return figures


def regression_curves(truth: Array, predicted: Array) -> dict[str, Figure]:
    """Predicted against actual values, and residuals, by file name."""
    figures = {}
    for name, kind in (("predicted", "actual_vs_predicted"), ("residuals", "residual_vs_predicted")):
        figures[name] = Figure(figsize=(6, 5), layout="constrained")
        display = m.PredictionErrorDisplay.from_predictions
        display(truth, predicted, kind=kind, ax=figures[name].subplots(), scatter_kwargs={"s": 6}, random_state=0)
    return figures


def judge(
    task: Task, metrics: Mapping[str, float], champion: Mapping[str, float] | None, quality: schema.Quality
) -> Quality:
    """The quality gate: the floor of pipeline.toml, and no worse than the champion by more than the tolerance."""
    name, value = quality.metric, metrics[quality.metric]
    sign, bound, beyond = (1, "floor", "below") if METRICS[task][name] else (-1, "ceiling", "above")
    if not sign * value >= sign * quality.floor:  # so that NaN fails
        return Quality(
            False, f"{name} is {value:.4g}, {abs(value - quality.floor):.4g} {beyond} the {bound} of {quality.floor:g}"
        )
    if champion is None or name not in champion:
        return Quality(True, f"{name} is {value:.4g} ({bound} {quality.floor:g}; compared with no champion)")
    loss = sign * (champion[name] - value)
    if loss > quality.tolerance:
        return Quality(
            False,
            f"{name} is {value:.4g}, {loss:.4g} worse than the champion's {champion[name]:.4g} "
            f"(tolerance {quality.tolerance:g})",
        )
    return Quality(True, f"{name} is {value:.4g} ({bound} {quality.floor:g}; champion {champion[name]:.4g})")
