"""Steps of the model."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Share(TransformerMixin, BaseEstimator):
    """Each number as a share of the largest that training saw in its column, at most 1."""

    def fit(self, X, y=None):
        self.largest_ = np.nanmax(np.asarray(X), axis=0).astype(np.float32)
        return self

    def transform(self, X):
        return np.minimum(np.asarray(X) / self.largest_, np.float32(1))

    def onnx_transform(self, graph, x):
        shares = graph.add("Div", [x, graph.constant(self.largest_)])
        return graph.add("Min", [shares, graph.constant(np.float32(1))])
