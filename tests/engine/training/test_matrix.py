"""training.onnx.one_matrix: one matrix in place of columns, and the same answers."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
    TargetEncoder,
)

from pipeline.bundle import Column
from pipeline.columns import MATRIX, MatrixColumn, arrays, from_metadata, packer
from training.onnx import comparison, export
from training.onnx.convert import convert

RNG = np.random.default_rng(3)
COLUMNS = [Column("a", "number"), Column("s", "text"), Column("b", "number"), Column("t", "text")]
NUMBERS, TEXTS = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
UNKNOWN = {"handle_unknown": "use_encoded_value", "unknown_value": -1}


def sample(rows: int = 400) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": RNG.normal(size=rows).astype(np.float32),
            "s": RNG.choice(["x", "y", "blå"], rows).astype(object),
            "b": RNG.normal(size=rows).astype(np.float32),
            "t": RNG.choice(["p", "q", ""], rows).astype(object),
        }
    )


FRAME = sample()
TARGET = np.where(FRAME["a"] + (FRAME["s"] == "x") + RNG.normal(size=len(FRAME)) > 0.4, "yes", "no").astype(object)


def columns(numbers: Any, texts: Any) -> Any:
    return make_column_transformer((numbers, NUMBERS), (texts, TEXTS))


PIPELINES: dict[str, BaseEstimator] = {
    "one-hot": make_pipeline(
        columns(make_pipeline(SimpleImputer(), StandardScaler()), OneHotEncoder(handle_unknown="ignore")),
        LogisticRegression(),
    ),
    "ordinal": make_pipeline(columns("passthrough", OrdinalEncoder(**UNKNOWN)), RandomForestClassifier(5)),
    "ordinal, scaled": make_pipeline(
        columns(StandardScaler(), make_pipeline(OrdinalEncoder(**UNKNOWN), StandardScaler())), LogisticRegression()
    ),
    "target": make_pipeline(columns("passthrough", TargetEncoder()), GradientBoostingClassifier(n_estimators=9)),
    "imputed": make_pipeline(
        columns(
            SimpleImputer(),
            make_pipeline(
                SimpleImputer(strategy="most_frequent", missing_values=""), OneHotEncoder(handle_unknown="ignore")
            ),
        ),
        LogisticRegression(),
    ),
    "one of two texts": make_pipeline(
        make_column_transformer(("passthrough", ["b"]), (OneHotEncoder(handle_unknown="ignore"), ["t"])),
        RandomForestClassifier(5),
    ),
    "polynomial": make_pipeline(
        columns(make_pipeline(StandardScaler(), PolynomialFeatures(2)), OneHotEncoder(handle_unknown="ignore")),
        LogisticRegression(),
    ),
    "rare texts alike": make_pipeline(
        columns(
            make_pipeline(SimpleImputer(), StandardScaler()),
            OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.3),
        ),
        LogisticRegression(),
    ),
    "one-hot, scaled": make_pipeline(
        columns(StandardScaler(), make_pipeline(OneHotEncoder(handle_unknown="ignore"), MaxAbsScaler())),
        LogisticRegression(),
    ),
    "one-hot, merged": make_pipeline(
        columns(
            "passthrough",
            make_pipeline(OneHotEncoder(handle_unknown="ignore"), TruncatedSVD(2, random_state=1)),
        ),
        LogisticRegression(),
    ),
    "encoded twice": make_pipeline(
        make_column_transformer((OrdinalEncoder(**UNKNOWN), TEXTS), ("passthrough", NUMBERS), (TargetEncoder(), TEXTS)),
        GradientBoostingClassifier(n_estimators=9),
    ),
    "numbers alone": make_pipeline(make_column_transformer(("passthrough", NUMBERS)), RandomForestClassifier(5)),
}


def converted(estimator: BaseEstimator) -> tuple[onnx.ModelProto, list[MatrixColumn] | None]:
    estimator.fit(FRAME, TARGET)
    model = onnx.load_from_string(convert(estimator, COLUMNS, FRAME.head(3), "sample"))
    return model, from_metadata({each.key: each.value for each in model.metadata_props})


@pytest.mark.parametrize("name", PIPELINES)
def test_the_matrix_is_all_that_a_model_is_fed(name: str) -> None:
    """One input; with texts never seen, and missing ones, it answers as scikit-learn does."""
    estimator = PIPELINES[name]
    model, described = converted(estimator)
    assert described is not None
    assert [each.name for each in model.graph.input] == [MATRIX]
    frame = sample(200)
    frame.loc[:20, "s"], frame.loc[10:30, "t"], frame.loc[40:45, "s"] = "never seen", "P", ""
    records = [record | {"t": record["t"] or None} for record in frame.to_dict("records")]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (answer,) = session.run(None, {MATRIX: packer(described)(records)})
    np.testing.assert_array_equal(export.asker(model.SerializeToString())(arrays(records, COLUMNS)), answer)
    assert comparison.largest_difference(answer, comparison.predict(estimator, frame)) <= comparison.TOLERANCE


def test_trees_on_numbers_and_codes_are_fed_the_matrix_itself() -> None:
    """Nothing is moved on the way: the graph is the trees alone, once ONNX Runtime has taken the identities away."""
    model, described = converted(PIPELINES["ordinal"])
    assert described is not None
    trees = ["Cast", "TreeEnsembleRegressor", "Sub", "Concat"]
    assert [node.op_type for node in model.graph.node] == ["Identity", *trees]
    assert sorted(column.name for column in described) == ["a", "b", "s", "t"]


def test_a_text_that_scikit_learn_refuses_is_refused() -> None:
    """An encoder without `handle_unknown`: the column and the text are named, and nothing is made up."""
    model, described = converted(make_pipeline(columns("passthrough", OneHotEncoder()), LogisticRegression()))
    assert described is not None
    records = FRAME.to_dict("records")
    packed = packer(described)(records[:5])
    onnxruntime.InferenceSession(model.SerializeToString()).run(None, {MATRIX: packed})
    with pytest.raises(ValueError, match="training saw no s like 'never'"):
        packer(described)([records[0] | {"s": "never"}])
    with pytest.raises(ValueError, match="training saw no s like ''"):
        packer(described)([records[0] | {"s": None}])


@pytest.mark.parametrize("encoder", [OrdinalEncoder, TargetEncoder, lambda: OneHotEncoder(sparse_output=False)])
def test_a_text_may_be_always_the_same(encoder: Callable[[], BaseEstimator]) -> None:
    """Such a column changes no number, so which numbers are its own has to follow from the order."""
    frame, kinds = FRAME.assign(s="always"), {"s": "text", "t": "text"}
    model = make_pipeline(columns("passthrough", encoder()), RandomForestClassifier(5)).fit(frame, TARGET)
    ordered = [Column(name, kinds.get(name, "number")) for name in frame]  # type: ignore[arg-type]
    rows = arrays(frame.to_dict("records"), ordered)
    made = export.export(model, ordered, rows, comparison.predict(model, frame), "sample", gaps=[])
    assert (made.runtime, made.reason) == ("onnx", "")
    assert len(onnx.load_from_string(made.model).graph.input) == 1


def test_onnx_itself_takes_no_text_apart() -> None:
    """It folds and cuts texts by the machine's locale: what it says of "goodé" depends on where it runs."""
    estimator = make_pipeline(
        ColumnTransformer(
            [("n", "passthrough", ["a", "b"]), ("s", CountVectorizer(), "s")], transformer_weights={"s": 2.0}
        ),
        LogisticRegression(),
    )
    frame = FRAME.assign(s=[f"{s} and {t or 'none'}" for s, t in zip(FRAME["s"], FRAME["t"], strict=True)])
    estimator.fit(frame.drop(columns="t"), TARGET)
    with warnings.catch_warnings(), pytest.raises(ValueError, match="as the locale of a machine has it"):
        warnings.simplefilter("ignore")
        convert(estimator, [c for c in COLUMNS if c.name != "t"], frame.drop(columns="t").head(3), "sample")


def test_a_table_may_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """One-hot encoding of k texts is a table of k times k: 12,000 made a model of 476 MB. So columns are fed then."""
    monkeypatch.setattr("training.onnx.one_matrix.CELLS", 3)
    estimator = make_pipeline(columns(StandardScaler(), OneHotEncoder(handle_unknown="ignore")), LogisticRegression())
    estimator.fit(FRAME, TARGET)
    model = convert(estimator, COLUMNS, FRAME.head(3), "sample")
    assert {each.name for each in onnx.load_from_string(model).graph.input} == {"a", "b", "s", "t"}
    rows = arrays(FRAME.to_dict("records"), COLUMNS)
    assert (
        comparison.largest_difference(export.asker(model)(rows), comparison.predict(estimator, FRAME))
        <= comparison.TOLERANCE
    )


def test_missing_numbers_are_not_a_number() -> None:
    """None in a record is NaN in the matrix."""
    described = [MatrixColumn("a"), MatrixColumn("s", {"x": 1.0}, 0.0)]
    packed = packer(described)([{"a": None, "s": "x"}, {"a": 2, "s": None}])
    np.testing.assert_array_equal(packed, np.array([[np.nan, 1], [2, 0]], np.float32))
    assert packed.dtype == np.float32


def test_custom_steps_do_not_come_in_the_way() -> None:
    """A step that does nothing converts to nothing."""
    estimator = make_pipeline(
        columns(FunctionTransformer(validate=True), OrdinalEncoder(**UNKNOWN)), RandomForestClassifier(5)
    )
    assert converted(estimator)[1] is not None
