"""training.fit: what goes wrong in the user's estimator is one line that names its place."""

import io
import re
import sys
from collections.abc import Callable, Iterator, KeysView
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from skops.io import _persist

from pipeline.bundle import load_estimator
from pipeline.schema import Task
from training.archive import Archive
from training.dataset import Dataset
from training.fit import EstimatorError, answer, fit, rounded

FIRST = "from sklearn.base import BaseEstimator\n\n\n"
NUMBERS = pd.DataFrame({"x": np.arange(40.0), "y": np.where(np.arange(40) % 5, 1.0, np.nan)})
HELD_OUT = np.arange(40) % 4 == 0
REST = (np.arange(40, dtype=np.uint64), pd.DataFrame(), "sha", str)
DATASETS: dict[Task, Dataset] = {
    "classification": Dataset(
        NUMBERS, pd.Series(np.where(np.arange(40) > 19, "b", "a"), dtype=object), [], HELD_OUT, *REST
    ),
    "regression": Dataset(NUMBERS, NUMBERS["x"] * 2, [], HELD_OUT, *REST),
}


@pytest.fixture(name="build")
def _build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], object]]:
    """Writes src/model/estimator.py of a project, in which the test then runs. Its `derive` hands through."""
    folder = tmp_path / "src" / "model"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.columns.derive", dict)

    monkeypatch.setattr("model.__path__", [str(folder)])

    def forget() -> None:
        sys.modules.pop("model.estimator", None)
        vars(sys.modules["model"]).pop("estimator", None)

    forget()
    yield (folder / "estimator.py").write_text
    forget()


def function(*lines: str) -> str:
    return "def build(task, seed):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("task", "body", "message"),
    [
        (
            "regression",
            "def build(task, seed)\n",
            r"src/model/estimator\.py, line 1: build\(\) failed with SyntaxError",
        ),
        (
            "regression",
            "import nowhere.land\n",
            r"estimator\.py, line 1: build\(\) failed with ModuleNotFoundError.*: make add LIBRARY=nowhere \(the",
        ),
        (
            "regression",
            "import sklearn.nowhere\n",
            r"failed with ModuleNotFoundError: No module named 'sklearn.nowhere'$",
        ),
        ("regression", "", r"src/model/estimator\.py: build\(\) failed with ImportError"),
        ("regression", function("x = 1", "return 1 / 0"), r"estimator\.py, line 3: build\(\) failed with ZeroDivision"),
        ("regression", function("pass"), r"build\(\) returned NoneType; expected a scikit-learn estimator"),
        (
            "regression",
            function("from sklearn.linear_model import Ridge", "return Ridge()"),
            r"src/model/estimator\.py: fit\(\) failed with ValueError: Input X contains NaN\. Ridge does not accept",
        ),
        (
            "classification",
            function("from sklearn.tree import DecisionTreeRegressor", "return DecisionTreeRegressor()"),
            r"returned a regressor, but data\.task in pipeline\.toml is classification",
        ),
        (
            "regression",
            function("from sklearn.tree import DecisionTreeClassifier", "return DecisionTreeClassifier()"),
            r"returned a classifier, but data\.task in pipeline\.toml is regression",
        ),
        (
            "classification",
            function(
                "from sklearn.pipeline import make_pipeline; from sklearn.impute import SimpleImputer",
                "from sklearn.svm import LinearSVC",
                "return make_pipeline(SimpleImputer(), LinearSVC())",
            ),
            r"LinearSVC has no predict_proba.*CalibratedClassifierCV",
        ),
        (
            "regression",
            function("from sklearn.ensemble import IsolationForest", "return IsolationForest()"),
            r"build\(\) returned IsolationForest, which learns from no target; supported are classifiers",
        ),
        (
            "classification",
            function("from sklearn.cluster import KMeans", "return KMeans()"),
            r"build\(\) returned KMeans, which learns from no target",
        ),
    ],
)
def test_what_cannot_be_trained_is_explained(
    build: Callable[[str], object], task: Task, body: str, message: str
) -> None:
    """File, line where there is one, what failed and with what."""
    build(body)
    with pytest.raises(EstimatorError, match=message) as error:
        fit(task, 7, DATASETS[task].training)
    assert "\n" not in str(error.value)


def through(step: str) -> str:
    """A model whose numbers go through a function."""
    return "import copy\nfrom functools import partial\n\n\n" + function(
        "from sklearn.dummy import DummyRegressor",
        "from sklearn.pipeline import make_pipeline",
        "from sklearn.preprocessing import FunctionTransformer",
        f"return make_pipeline(FunctionTransformer({step}), DummyRegressor())",
    )


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("lambda x: 2 * x", r"estimator\.py: .* no attribute '<lambda>'\); .* at the top level of a module"),
        ("copy.copy", r"it holds copy\.copy, and only types of these packages are loaded: model,.*`trusted` under"),
        ("partial(copy.copy)", r"it holds copy\.copy, and only"),
    ],
)
def test_what_cannot_be_kept_is_explained(build: Callable[[str], object], step: str, message: str) -> None:
    """Before anything is registered: the service could not load it."""
    build(through(step))
    with pytest.raises(EstimatorError, match=message) as error:
        fit("regression", 7, DATASETS["regression"].training)
    assert "\n" not in str(error.value)


def test_what_build_sets_does_not_last(build: Callable[[str], object]) -> None:
    """The service has scikit-learn's defaults, so training has them as well."""
    build(
        "import sklearn\nfrom sklearn.dummy import DummyRegressor\n\n\n"
        + function('sklearn.set_config(transform_output="pandas")', "return DummyRegressor()")
    )
    fit("regression", 7, DATASETS["regression"].training)
    assert sklearn.get_config()["transform_output"] == "default"


def test_a_classifier_without_classes_is_explained(build: Callable[[str], object]) -> None:
    """The labels of its probabilities are nowhere."""
    build(
        "import numpy as np\nfrom sklearn.base import BaseEstimator, ClassifierMixin\n\n\n"
        "class Bare(ClassifierMixin, BaseEstimator):\n"
        "    def fit(self, frame, target):\n        self.fitted_ = True\n        return self\n\n"
        "    def predict_proba(self, frame):\n        return np.full((len(frame), 2), 0.5)\n\n\n"
        + function("return Bare()")
    )
    with pytest.raises(EstimatorError, match="Bare has no classes_ after fit"):
        fit("classification", 7, DATASETS["classification"].training)


@pytest.mark.parametrize(
    ("classes", "probabilities", "message"),
    [
        ("np.unique(target)", "np.full((len(frame), 3), 0.2)", r"the answer to 10 rows has the shape \(10, 3\)"),
        ("np.unique(target)", "np.full(len(frame), 0.2)", r"the answer to 10 rows has the shape \(10,\)"),
        (
            "np.unique(target)",
            "np.full((len(frame), 2), [5.0, -4.0])",
            "predict_proba gives 5 for a row, which is no pr",
        ),
        ("list(np.unique(target))", "np.full((len(frame), 2), 0.5)", r"classes_ = \['a', 'b'\] after fit"),
        ("np.arange(2)", "np.full((len(frame), 2), 0.5)", r"classes_ = array\(\[0, 1\]\) after fit"),
    ],
)
def test_what_answers_no_probabilities_is_explained(
    build: Callable[[str], object], classes: str, probabilities: str, message: str
) -> None:
    """Metrics would be those of something else, and the service would have no answer."""
    build(
        "import numpy as np\nfrom sklearn.base import BaseEstimator, ClassifierMixin\n\n\n"
        "class Odd(ClassifierMixin, BaseEstimator):\n"
        f"    def fit(self, frame, target):\n        self.classes_ = {classes}\n        return self\n\n"
        "    def predict(self, frame):\n        return np.repeat(self.classes_[:1], len(frame))\n\n"
        f"    def predict_proba(self, frame):\n        return {probabilities}\n\n\n" + function("return Odd()")
    )
    dataset = DATASETS["classification"]
    with pytest.raises(EstimatorError, match=message):
        answer(fit("classification", 7, dataset.training), dataset.held_out.frame)


@pytest.mark.parametrize(
    ("made", "advice"),
    [
        ("VotingClassifier([('a', DecisionTreeClassifier())])", 'set voting="soft"'),
        ("GridSearchCV(DecisionTreeClassifier(), {'max_depth': [1]}, refit=False)", "leave refit=False out"),
        ("make_pipeline(DecisionTreeClassifier(), StandardScaler())[1:]", "put one at the end"),
    ],
)
def test_advice_about_probabilities_can_be_followed(build: Callable[[str], object], made: str, advice: str) -> None:
    """CalibratedClassifierCV takes none of these."""
    lines = ["from sklearn.ensemble import VotingClassifier", "from sklearn.model_selection import GridSearchCV"]
    lines += ["from sklearn.pipeline import make_pipeline", "from sklearn.preprocessing import StandardScaler"]
    build(function(*lines, "from sklearn.tree import DecisionTreeClassifier", f"return {made}"))
    with pytest.raises(EstimatorError, match=f"has no predict_proba.*{advice}"):
        fit("classification", 7, DATASETS["classification"].training)


def test_a_package_may_be_trusted(build: Callable[[str], object]) -> None:
    """By `trusted` under [training] in pipeline.toml; a part of its name is not enough."""
    build(through("partial(copy.copy)"))
    fit("regression", 7, DATASETS["regression"].training, ["copy"])
    with pytest.raises(EstimatorError, match="it holds copy"):
        fit("regression", 7, DATASETS["regression"].training, ["cop"])


def test_an_answer_that_is_no_number_is_explained(build: Callable[[str], object]) -> None:
    """A model that answers NaN has no metrics, and nothing that could be served."""
    build(
        "import numpy as np\nfrom sklearn.base import BaseEstimator, RegressorMixin\n\n\n"
        "class Lost(RegressorMixin, BaseEstimator):\n"
        "    def fit(self, frame, target):\n        self.fitted_ = True\n        return self\n\n"
        "    def predict(self, frame):\n        return np.where(frame['x'] > 30, np.nan, 1.0)\n\n\n"
        + function("return Lost()")
    )
    pipeline = fit("regression", 7, DATASETS["regression"].training)
    with pytest.raises(EstimatorError, match="the answer to 2 of 10 held-out rows is not a number"):
        answer(pipeline, DATASETS["regression"].held_out.frame)


def test_an_answer_of_several_numbers_is_explained(build: Callable[[str], object]) -> None:
    """The service answers with one value a row."""
    build(
        "import numpy as np\nfrom sklearn.base import BaseEstimator, RegressorMixin\n\n\n"
        "class Pair(RegressorMixin, BaseEstimator):\n"
        "    def fit(self, frame, target):\n        self.fitted_ = True\n        return self\n\n"
        "    def predict(self, frame):\n        return np.ones((len(frame), 2))\n\n\n" + function("return Pair()")
    )
    pipeline = fit("regression", 7, DATASETS["regression"].training)
    with pytest.raises(
        EstimatorError, match=r"the answer to 10 rows has the shape \(10, 2\); supported are classifiers with a prob"
    ):
        answer(pipeline, DATASETS["regression"].held_out.frame)


CODES_ONLY = """from sklearn.tree import DecisionTreeClassifier


class CodesOnly(DecisionTreeClassifier):
    def fit(self, frame, target):
        if set(target) != {0, 1}:
            raise ValueError("labels have to be codes")
        if self.max_depth == 1:
            raise ValueError("too shallow")
        return super().fit(frame, target)


"""


def test_a_classifier_of_codes_takes_labels(build: Callable[[str], object]) -> None:
    """They come back from the pipeline as they were in the file, also once it was stored."""
    build(CODES_ONLY + function("return CodesOnly(max_depth=3)"))
    data = DATASETS["classification"]
    pipeline = load_estimator(skops.io.dumps(fit("classification", 7, data.training)))
    assert pipeline.classes_.tolist() == ["a", "b"]
    assert pipeline.predict(data.training.frame).tolist() == data.training.target.tolist()
    assert answer(pipeline, data.held_out.frame)[1].shape == (10, 2)


def test_where_codes_are_no_help_the_first_error_is_told(build: Callable[[str], object]) -> None:
    """It is about what the user wrote, and not about codes that nobody has seen."""
    build(CODES_ONLY + function("return CodesOnly(max_depth=1)"))
    with pytest.raises(EstimatorError, match=r"line 7: fit\(\) failed with ValueError: labels have to be codes"):
        fit("classification", 7, DATASETS["classification"].training)


def test_a_label_that_is_not_the_likeliest_is_explained(build: Callable[[str], object]) -> None:
    """The service would name another class than the registered model."""
    build(
        function(
            "from sklearn.model_selection import FixedThresholdClassifier",
            "from sklearn.tree import DecisionTreeClassifier",
            "return FixedThresholdClassifier(DecisionTreeClassifier(), threshold=0.0)",
        )
    )
    pipeline = fit("classification", 7, DATASETS["classification"].training)
    with pytest.raises(
        EstimatorError, match="for 6 of 10 held-out rows predict names another class than the likeliest"
    ):
        answer(pipeline, DATASETS["classification"].held_out.frame)


def test_numbers_that_the_model_cannot_tell_apart_are_named() -> None:
    """Unix seconds, identifiers: a float32 holds each whole number up to 2^24. Others that `derive` makes are fine."""
    given = pd.DataFrame({"at": [5, 1_700_000_001.0], "fine": [1_700_000_000.0, 0.123456789012], "text": ["a", "b"]})
    fed = given.astype({"at": np.float32, "fine": np.float32})
    (found,) = rounded(given, fed)
    assert found.startswith("'at' has numbers that the model cannot tell apart (1700000001 is 1700000000 to it)")
    counted = (given["at"] - 1_700_000_000).astype(np.float32)
    assert not list(rounded(given, fed.assign(at=counted)))
    assert not list(rounded(given, fed.drop(columns="at")))


def test_what_is_stored_is_what_skops_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up of names is quick where there are many of them; nothing else is other."""
    model = HistGradientBoostingClassifier(max_iter=5).fit(NUMBERS, DATASETS["classification"].target)

    def stored(kind: type[ZipFile]) -> dict[str, bytes]:
        monkeypatch.setattr(_persist, "ZipFile", kind)
        with ZipFile(io.BytesIO(skops.io.dumps(model))) as archive:
            return {name: re.sub(rb'"__id__": \d+', b"", archive.read(name)) for name in archive.namelist()}

    class Asked(Archive):
        times = 0

        def namelist(self) -> KeysView[str]:
            Asked.times += 1
            return super().namelist()

    assert _persist.ZipFile is Archive
    assert stored(Asked) == stored(ZipFile)
    assert Asked.times > 10
    assert len(stored(Archive)) > 10
