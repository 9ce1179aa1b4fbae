"""training.quality.metrics: what scikit-learn says of weighted rows, for many weights at once."""

import numpy as np
import pytest
from sklearn import metrics as m

from training.quality.metrics import Answers, measure, metrics, rarest

DICE = np.random.default_rng(3)
ROWS = 400
COUNTS = DICE.poisson(1.0, (6, ROWS))  # as a bootstrap has them, rows that are left out as well
LABELS = np.array(["no", "yes"], object)
Array = np.ndarray


def binary(ties: bool) -> Answers:
    p = DICE.uniform(0.02, 0.98, ROWS)
    p = np.round(p, 1) if ties else p
    truth = LABELS[(DICE.uniform(size=ROWS) < p).astype(int)]
    return Answers(truth, np.column_stack([1 - p, p]), ("no", "yes"), "yes")


@pytest.mark.parametrize("ties", [False, True])
def test_two_classes_as_scikit_learn_has_them(ties: bool) -> None:
    """ROC AUC, average precision, log loss and Brier score of each resample, with and without equal scores."""
    answers = binary(ties)
    hit, p = answers.truth == "yes", answers.given[:, 1]
    found = measure(answers)(COUNTS)
    for n, weight in enumerate(COUNTS):
        assert found["roc_auc"][n] == pytest.approx(m.roc_auc_score(hit, p, sample_weight=weight))
        assert found["average_precision"][n] == pytest.approx(m.average_precision_score(hit, p, sample_weight=weight))
        assert found["log_loss"][n] == pytest.approx(m.log_loss(hit, p, sample_weight=weight))
        assert found["brier"][n] == pytest.approx(m.brier_score_loss(hit, p, sample_weight=weight))


def test_the_positive_class_decides() -> None:
    """Average precision of the named class, not of whichever comes last in the alphabet."""
    answers = binary(ties=False)
    found = metrics(answers._replace(positive="no"))
    expected = m.average_precision_score(answers.truth == "no", answers.given[:, 0])
    assert found["average_precision"] == pytest.approx(expected)
    assert found["average_precision"] != pytest.approx(metrics(answers)["average_precision"])
    assert rarest(np.array(["a", "b", "b"], object)) == "a"


def several() -> Answers:
    classes = ["a", "b", "c"]
    given = DICE.dirichlet([1, 1, 1], ROWS)
    truth = np.array([DICE.choice(classes, p=p) for p in given], object)
    return Answers(truth, given.astype(np.float32).astype(float) * (1 + 3e-7), classes, "a")


def test_more_classes_as_scikit_learn_has_them() -> None:
    """One against the rest, averaged; probabilities in 32 bits miss a sum of 1 and are probabilities all the same."""
    answers = several()
    hits = (answers.truth[:, None] == np.array(answers.classes)).astype(int)
    found = measure(answers)(COUNTS)
    given = answers.given / answers.given.sum(axis=1, keepdims=True)
    for n, weight in enumerate(COUNTS):
        assert found["roc_auc"][n] == pytest.approx(m.roc_auc_score(hits, answers.given, sample_weight=weight))
        assert found["log_loss"][n] == pytest.approx(m.log_loss(answers.truth, given, sample_weight=weight))
        one = np.average(((answers.given - hits) ** 2).sum(axis=1), weights=weight)
        assert found["brier"][n] == pytest.approx(one)


def test_classes_may_be_in_any_order() -> None:
    """The champion's may be others than the candidate's."""
    answers = several()
    other = answers._replace(given=answers.given[:, ::-1], classes=answers.classes[::-1])
    assert metrics(other) == pytest.approx(metrics(answers))


def test_a_resample_may_lack_a_class() -> None:
    """Of three, the other two count; of two, there is no curve, and the other metrics are there all the same."""
    answers = several()
    without = (answers.truth != "a").astype(int)[None, :]
    found, rest = measure(answers)(without), answers.of(np.flatnonzero(without[0]))
    by_class = [m.roc_auc_score(rest.truth == label, rest.given[:, n]) for n, label in ((1, "b"), (2, "c"))]
    assert found["roc_auc"][0] == pytest.approx(np.mean(by_class))
    two = binary(ties=False)
    found = measure(two)((two.truth == "yes").astype(int)[None, :])
    assert np.isnan(found["roc_auc"][0])
    assert np.isfinite(found["log_loss"][0])


@pytest.mark.parametrize("clipped", [False, True])
def test_a_coarser_curve_says_the_same(clipped: bool) -> None:
    """A resample is looked at in steps; rows of one score stay together, though most have it."""
    dice = np.random.default_rng(4)
    hit = dice.random(30_000) < 0.2
    p = 1 / (1 + np.exp(1.5 - 1.2 * hit - dice.normal(size=len(hit))))
    p = np.clip(p, 0.3, 0.35) if clipped else p
    answers = Answers(LABELS[hit.astype(int)], np.column_stack([1 - p, p]), ("no", "yes"), "yes")
    counts = dice.multinomial(len(hit), np.full(len(hit), 1 / len(hit)), size=5)
    exact, coarse = measure(answers)(counts), measure(answers, steps=2_000)(counts)
    for name, values in exact.items():
        np.testing.assert_allclose(coarse[name], values, rtol=1e-3)
        np.testing.assert_allclose(coarse[name] - coarse[name][0], values - values[0], atol=2e-4)


def test_calibration() -> None:
    """A model that says what is so has no calibration error; one that is surer than it may be has one."""
    p = np.repeat([0.1, 0.5, 0.9], 1000)
    hit = np.concatenate([np.arange(1000) < share * 1000 for share in (0.1, 0.5, 0.9)])
    good = Answers(LABELS[hit.astype(int)], np.column_stack([1 - p, p]), ("no", "yes"), "yes")
    sure = np.where(p > 0.5, 0.99, np.where(p < 0.5, 0.01, 0.5))
    bad = good._replace(given=np.column_stack([1 - sure, sure]))
    one, other = metrics(good), metrics(bad)
    assert one["calibration_error"] == pytest.approx(0, abs=1e-9)
    assert other["calibration_error"] == pytest.approx(0.06)
    for found in (one, other):  # Murphy's decomposition, exact where all of a bin have one probability
        uncertainty = hit.mean() * (1 - hit.mean())
        assert found["brier"] == pytest.approx(found["reliability"] - found["resolution"] + uncertainty)


def test_a_regression_as_scikit_learn_has_it() -> None:
    """R², MAE and RMSE of each resample, of a target far from zero as well."""
    truth = DICE.normal(1e6, 3, ROWS)
    answers = Answers(truth, truth + DICE.normal(0, 1, ROWS))
    found = measure(answers)(COUNTS)
    for n, weight in enumerate(COUNTS):
        assert found["r2"][n] == pytest.approx(m.r2_score(truth, answers.given, sample_weight=weight))
        expected = m.mean_absolute_error(truth, answers.given, sample_weight=weight)
        assert found["mae"][n] == pytest.approx(expected)
        squared = m.root_mean_squared_error(truth, answers.given, sample_weight=weight)
        assert found["rmse"][n] == pytest.approx(squared)
    assert metrics(answers)["coverage_90"] == pytest.approx(0.9, abs=0.06)


def test_residuals_that_change_are_seen() -> None:
    """Quantiles of the first half's residuals do not cover a second half that is off."""
    truth = DICE.normal(size=ROWS)
    given = truth + DICE.normal(0, 1, ROWS) + np.where(np.arange(ROWS) < ROWS // 2, 0, 5)
    assert metrics(Answers(truth, given))["coverage_90"] < 0.2
