"""Your part, src/model and pipeline.toml: what has to hold for any data and any model."""

import contextlib
import copy
import doctest
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import model.data
from model.data import derive
from pipeline import bundle as bundles
from pipeline.settings import load_settings
from pipeline.transformer import records
from serving import predictor
from tests.conftest import PART, ROOT
from training.dataset import read

MANY = 100_000  # rows of the file that are derived, at most
ENOUGH = 100  # rows on which a model has to be better than a constant


def test_the_examples_hold() -> None:
    """Those in src/model/data.py, which is the place for rules of your own."""
    assert doctest.testmod(model.data).failed == 0


def test_every_row_derives() -> None:
    """Numbers, texts or None under the same names in each row. A second call gives the same, and changes no row."""
    settings = load_settings(ROOT, {})
    dataset = read(settings.data, settings.training.holdout)
    rows = records(dataset.frame.sample(min(MANY, len(dataset.frame)), random_state=0))
    names = derive(rows[0]).keys()
    for row in rows:
        before = copy.copy(row)
        columns = derive(row)
        assert columns.keys() == names
        assert {type(value) for value in columns.values()} <= {float, int, bool, str, type(None)}, columns
        assert columns == derive(row)
        assert row == before


def test_derive_needs_no_library() -> None:
    """The image that serves ONNX has no pandas: src/model/data.py imports the standard library only."""
    program = (
        "import json, sys; old = set(sys.modules); import model.data; print(json.dumps([*set(sys.modules) - old]))"
    )
    path = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); "
    done = subprocess.run([sys.executable, "-S", "-c", path + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"src/model/data.py: {done.stderr.strip().splitlines()[-1]}"
    assert {name.split(".")[0] for name in json.loads(done.stdout)} <= {"model", *sys.stdlib_module_names}


def test_the_model_learns(trained: Path) -> None:
    """It ranks its rows better than a constant does: by the area under ROC, or by Spearman's correlation."""
    settings = load_settings(trained, PART)
    with contextlib.chdir(trained):
        dataset = read(settings.data, settings.training.holdout)
    bundle, predict = predictor.load(trained / "bundle", settings.training.trusted)
    answers = np.array(predict(records(dataset.frame)))
    if len(dataset.frame) < ENOUGH and (answers == answers[0]).all():
        pytest.skip(f"{len(dataset.frame)} rows are too few for this model: it answers the same to all")
    if bundle.contract.task == "regression":
        assert spearmanr(answers[:, 0], dataset.target).statistic > 0
        return
    truth = pd.Categorical(dataset.target, categories=bundle.contract.classes).codes
    areas = [roc_auc_score(truth == code, answers[:, code]) for code in range(len(bundle.contract.classes))]
    assert np.mean(areas) > 0.5


def test_the_bundle_says_what_serves_it(trained: Path) -> None:
    """ONNX Runtime, within a millionth of scikit-learn, or scikit-learn itself, with the reason."""
    card = bundles.read(trained / "bundle").card
    if card.runtime == "onnx":
        assert card.parity["largest_difference"] <= 1e-6
    else:
        assert card.reason
