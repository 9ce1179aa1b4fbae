"""training.evaluate: metrics, and the quality gate."""

import io

import numpy as np
import pytest
from sklearn import metrics as m

from pipeline.schema import Quality
from training import evaluate


def quality(metric: str, floor: float, tolerance: float = 0.01) -> Quality:
    return Quality(metric=metric, floor=floor, tolerance=tolerance)


@pytest.mark.parametrize(
    ("task", "metric", "value", "champion", "floor", "passed"),
    [
        ("classification", "roc_auc", 0.95, None, 0.9, True),
        ("classification", "roc_auc", 0.89, None, 0.9, False),
        ("classification", "roc_auc", 0.90, None, 0.9, True),
        ("classification", "roc_auc", 0.95, 0.955, 0.9, True),
        ("classification", "roc_auc", 0.95, 0.97, 0.9, False),
        ("classification", "roc_auc", 0.97, 0.95, 0.9, True),
        ("classification", "log_loss", 0.20, None, 0.3, True),
        ("classification", "log_loss", 0.31, None, 0.3, False),
        ("classification", "log_loss", 0.20, 0.18, 0.3, False),
        ("classification", "log_loss", 0.18, 0.20, 0.3, True),
        ("regression", "r2", 0.5, 0.6, 0.3, False),
        ("regression", "mae", 90.0, 89.995, 100, True),
        ("classification", "roc_auc", float("nan"), None, 0.9, False),
        ("regression", "rmse", float("nan"), 1.0, 100, False),
    ],
)
def test_floor_and_champion(
    task: str, metric: str, value: float, champion: float | None, floor: float, passed: bool
) -> None:
    """Beyond the floor (a ceiling, where less is better) or worse than the champion by more than the tolerance: no."""
    best = None if champion is None else {metric: champion}
    verdict = evaluate.judge(task, {metric: value}, best, quality(metric, floor))  # type: ignore[arg-type]
    assert verdict.passed is passed
    assert metric in verdict.sentence


def test_a_refusal_says_by_how_much() -> None:
    """The one line of a red gate: metric, value, distance and limit."""
    sentence = evaluate.judge("classification", {"roc_auc": 0.93}, {"roc_auc": 0.97}, quality("roc_auc", 0.9)).sentence
    assert sentence == "roc_auc is 0.93, 0.04 worse than the champion's 0.97 (tolerance 0.01)"


def test_probabilities_in_32_bits_are_probabilities() -> None:
    """Their sum misses 1 by a rounding error, of which scikit-learn would warn, and a warning is an error here."""
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.1, 0.7]], dtype=np.float32).astype(float) * (1 + 3e-7)
    found = evaluate.classification_metrics(np.array(["a", "b", "c"], dtype=object), p, ["a", "b", "c"], "a")
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.6, 0.7]).mean(), rel=1e-6)


def test_the_positive_class_decides_average_precision() -> None:
    """Average precision of the named class, not of whichever comes last in the alphabet."""
    truth = np.array(["a", "b", "b", "b", "a", "b"], dtype=object)
    p = np.array([0.9, 0.2, 0.4, 0.1, 0.3, 0.6])
    both = np.column_stack([p, 1 - p])
    found = evaluate.classification_metrics(truth, both, ["a", "b"], "a")
    assert found["average_precision"] == m.average_precision_score(truth == "a", p)
    assert (
        found["average_precision"] != evaluate.classification_metrics(truth, both, ["a", "b"], "b")["average_precision"]
    )
    assert evaluate.rarest(truth) == "a"


def test_more_than_two_classes() -> None:
    """One against the rest, averaged; a perfect model scores 1, 1, and near 0, 0."""
    truth = np.array(["a", "b", "c"] * 5, dtype=object)
    sure = np.where(truth[:, None] == np.array(["a", "b", "c"]), 0.98, 0.01)
    found = evaluate.classification_metrics(truth, sure, ["a", "b", "c"], "a")
    assert found["roc_auc"] == found["average_precision"] == 1.0
    assert found["log_loss"] == pytest.approx(-np.log(0.98))
    assert found["brier"] == pytest.approx(0.02**2 + 2 * 0.01**2)
    assert set(evaluate.classification_curves(truth, sure, ["a", "b", "c"], "a")) == {
        "roc",
        "precision_recall",
        "calibration",
    }


def test_classes_may_be_in_any_order() -> None:
    """log_loss takes the columns as sorted by label; the probabilities come in the model's order."""
    dice = np.random.default_rng(2)
    classes = ["a", "b", "c"]
    probabilities = dice.dirichlet([1, 1, 1], 90)
    truth = np.array([dice.choice(classes, p=p) for p in probabilities], object)
    found = evaluate.classification_metrics(truth, probabilities, classes, "a")
    other = evaluate.classification_metrics(truth, probabilities[:, ::-1], classes[::-1], "a")
    assert other == pytest.approx(found)


def test_without_classes_it_is_a_regression() -> None:
    """What is measured and drawn follows from the answer: values have no classes, probabilities a column for each."""
    truth, values = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])
    assert evaluate.metrics(truth, "", values, []) == evaluate.regression_metrics(truth, values)
    assert set(evaluate.curves(truth, "", values, [])) == {"predicted", "residuals"}
    labels = np.array(["a", "b", "a"], object)
    both = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    assert evaluate.metrics(labels, "b", both, ["a", "b"])["roc_auc"] == 1.0
    assert set(evaluate.curves(labels, "b", both, ["a", "b"])) == {"roc", "precision_recall", "calibration"}


def test_a_label_may_have_dollars() -> None:
    """Two of them are a formula to matplotlib, which fails on most."""
    truth = np.array(["$25_$50", "more"] * 20, object)
    p = np.linspace(0.1, 0.9, 40)
    figures = evaluate.classification_curves(truth, np.column_stack([p, 1 - p]), ["$25_$50", "more"], "$25_$50")
    for figure in figures.values():
        figure.savefig(io.BytesIO())
