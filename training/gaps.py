"""What the model answers where a value is missing that training saw in each row."""

import warnings
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from training.onnx.comparison import Rows, largest_difference, predict, tolerance

ROWS = 20  # that are asked
NAMES = 50  # that are asked at once, each with these rows: one by one, 500 columns took a minute
Array = np.ndarray


def answered(
    pipeline: Pipeline,
    frame: pd.DataFrame,
    names: Iterable[str],
    served: Callable[[Rows], Array] | None,
    gapless: Collection[str],
) -> list[str]:
    """The fields without which `derive` and the fitted estimator have an answer, a finite one, to rows of the frame.

    served: the answer of what will serve instead of the estimator, which has to be the same. gapless: the columns of
    the model in which it wants a number.
    """
    derive, model = pipeline.named_steps.values()
    some = frame.head(ROWS)

    def have_answer(names: Sequence[str]) -> list[str]:
        """Those of the names. All are asked at once, and by halves where one of them has none."""
        try:
            table = derive.transform(pd.concat([some.assign(**{name: None}) for name in names]))
            expected = predict(model, table)
            actual = expected
            if served is not None:
                actual = served({column: table[[column]].to_numpy() for column in table})
        except Exception:  # of the user's code, or of any step: there is no answer, which is all there is to know
            half = len(names) // 2
            return [*have_answer(names[:half]), *have_answer(names[half:])] if half else []
        known = table[[*gapless]].notna().all(axis=1).to_numpy()
        each = zip(*(np.split(array, len(names)) for array in (known, expected, actual)), strict=True)
        return [name for name, parts in zip(names, each, strict=True) if _same(*parts)]

    every = [*names]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [name for n in range(0, len(every), NAMES) for name in have_answer(every[n : n + NAMES])]


def _same(known: Array, expected: Array, actual: Array) -> bool:
    """Whether a field's rows have numbers where the model wants some, and one answer, whoever serves."""
    return bool(known.all() and np.isfinite(expected).all()) and (
        largest_difference(actual, expected) <= tolerance(expected)
    )
