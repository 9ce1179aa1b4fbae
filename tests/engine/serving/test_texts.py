"""A project whose model takes texts apart, from its data file to the answers of the service."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest

from pipeline import bundle as bundles
from pipeline.settings import load_settings
from tests.engine.conftest import PROJECT, run
from training.onnx.hard_texts import hard_texts

from .conftest import Service

SETTINGS = load_settings(PROJECT)
TEXT = SETTINGS.data.text[1]
MODEL = f'''"""Words of one column and letters of it, one of them with options that scikit-learn warns of."""

from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def build(task, seed):
    words = TfidfVectorizer(strip_accents="unicode", stop_words=["it's", "of"], sublinear_tf=True)
    letters = CountVectorizer(analyzer="char_wb", ngram_range=(2, 3))
    return make_pipeline(make_column_transformer((words, {TEXT!r}), (letters, {TEXT!r})), LogisticRegression(C=0.1))
'''


@pytest.mark.filterwarnings("ignore")  # scikit-learn's, of the stop words, in this process
def test_texts_are_answered_as_scikit_learn_does(project: Path, serve: Callable[..., Service]) -> None:
    """ONNX serves; ordinary texts, hard ones and long ones are answered exactly. A warning is a line, said once."""
    (project / "src" / "model" / "estimator.py").write_text(MODEL)
    path = project / SETTINGS.data.path
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *random.Random(3).sample(lines[1:], 1200)]))
    done = run(project, "training.train", MLOPS_QUALITY__FLOOR="-1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Note: UserWarning: Your stop_words may be inconsistent with") == 1
    assert "warnings.warn(" not in done.stdout + done.stderr
    card = bundles.read(project / "bundle").card
    assert (card.runtime, card.reason) == ("onnx", "")

    records = [json.loads(line) for line in (project / "bundle" / "requests.jsonl").read_text().splitlines()[:20]]
    texts = hard_texts([record[TEXT] for record in records[:6]])
    records += [records[n % 20] | {TEXT: text} for n, text in enumerate([*texts, "bank " * 5000])]
    status, answer = serve(project=project).get("/predict", json.dumps({"instances": records}).encode())
    assert status == 200, answer
    found = [list(each["probabilities"].values()) for each in json.loads(answer)["predictions"]]
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
    pipeline = mlflow.sklearn.load_model(f"models:/{SETTINGS.project.name}@candidate")
    np.testing.assert_allclose(found, pipeline.predict_proba(pd.DataFrame(records)), atol=1e-6)
