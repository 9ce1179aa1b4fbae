"""The judged metric as scikit-learn's searches take it: a scorer, more of which is better."""

from typing import Any, NamedTuple

from training.onnx.comparison import predict
from training.quality.metrics import Answers, metrics


class Score(NamedTuple):
    """Of a fitted estimator on rows that it has not seen."""

    metric: str
    sign: int  # 1 where more is better, else -1
    positive: str  # class; empty of a regression

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        classes = [str(label) for label in estimator.classes_] if self.positive else []
        return self.sign * metrics(Answers(y, predict(estimator, X), classes, self.positive))[self.metric]
