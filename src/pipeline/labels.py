"""Classifiers that take no texts as labels, such as XGBoost's: they see codes, and everyone else the labels."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone


class Labelled(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that is fitted on 0 … k - 1 in place of labels, and answers with the labels.

    classes_: the labels, sorted, in the order of predict_proba. estimator_: fitted on the codes, the same order.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any) -> Self:
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.estimator_ = clone(self.estimator).fit(X, codes)
        return self

    def predict(self, X: Any) -> Any:
        return self.classes_[np.ravel(self.estimator_.predict(X)).astype(int)]

    def predict_proba(self, X: Any) -> Any:
        return self.estimator_.predict_proba(X)


def fit_classifier(estimator: Any, X: Any, y: Any) -> Any:
    """The estimator, fitted; where that fails, and works on codes in place of labels, one around it.

    Raises what fitting it raises.
    """
    try:
        estimator.fit(X, y)
    except Exception as first:
        try:
            return Labelled(estimator).fit(X, y)
        except Exception as second:
            # What is said of a label hides what is wrong besides.
            of_labels = any(repr(str(label)) in str(first) for label in np.unique(y))
            raise (second if of_labels else first) from None
    return estimator
