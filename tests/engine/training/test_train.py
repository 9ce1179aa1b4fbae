"""training.train and release.baseline: the real thing on a real SQLite store."""

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.dummy import DummyClassifier, DummyRegressor

from pipeline import bundle as bundles
from pipeline import columns, notes
from pipeline.notes import Baseline
from pipeline.schema import METRICS
from pipeline.settings import load_settings
from pipeline.transformer import records
from release.baseline import lay_out
from tests.engine.conftest import PROJECT, environment
from training import gaps
from training.dataset import read
from training.onnx.comparison import predict
from training.quality import importance
from training.quality.judge import decide
from training.quality.report import Model
from training.train import main

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow runs in this process, with warnings of its own

SETTINGS = load_settings(PROJECT)
NAME, TASK = SETTINGS.project.name, SETTINGS.data.task
FLOOR = {True: "2", False: "-1"}[METRICS[TASK][SETTINGS.quality.metric]]  # that no model reaches
ANYTHING = {True: "-1e9", False: "1e9"}[METRICS[TASK][SETTINGS.quality.metric]]  # that every model reaches
CURVES = {
    "classification": ("roc", "precision_recall", "calibration"),
    "regression": ("predicted", "residuals"),
}


def client(project: Path) -> MlflowClient:
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
    return MlflowClient()


def aliases(project: Path) -> dict[str, str]:
    return {k: str(v) for k, v in client(project).get_registered_model(NAME).aliases.items()}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with nothing in it: laying out its tables takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    client(folder).search_registered_models()
    return folder / "mlflow.db"


@pytest.fixture(name="small")
def _small(project: Path, store: Path) -> Path:
    """The test's own project with few rows of its data and an empty store: trains in a moment."""
    path = project / SETTINGS.data.path
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *random.Random(3).sample(lines[1:], min(1500, len(lines) - 1))]))
    shutil.copy(store, project)
    return project


def test_the_candidate_is_registered_with_everything(trained: Path) -> None:
    """Alias, parameters, metrics, the data's digest, the commit, curves as pictures, signature and example."""
    store = client(trained)
    version = store.get_model_version_by_alias(NAME, "candidate")
    logged = store.get_run(version.run_id)
    assert set(METRICS[TASK]) <= set(logged.data.metrics)
    assert {"seed", "holdout", "features"} <= set(logged.data.params)
    assert "git_sha" in logged.data.tags
    assert [(d.dataset.name, bool(d.dataset.digest)) for d in logged.inputs.dataset_inputs] == [
        (Path(SETTINGS.data.path).stem, True)
    ]
    curves = {artifact.path for artifact in store.list_artifacts(version.run_id, "curves")}
    assert curves == {f"curves/{name}.png" for name in CURVES[TASK]}
    info = mlflow.models.get_model_info(f"models:/{NAME}@candidate")
    assert [column.name for column in info.signature.inputs] == [*SETTINGS.data.kinds]
    assert info.saved_input_example_info is not None
    card = bundles.read(trained / "bundle").card
    assert (card.version, card.run_id) == (str(version.version), version.run_id)
    logged_metrics = logged.data.metrics
    assert card.metrics == {name: logged_metrics[name] for name in card.metrics}
    low, high = (logged_metrics[f"{SETTINGS.quality.metric}_{bound}"] for bound in ("low", "high"))
    assert low < logged_metrics[SETTINGS.quality.metric] < high


def test_the_registered_pipeline_takes_rows_of_the_file(trained: Path) -> None:
    """Loaded by its alias, it answers on the file's own columns: so it can score a table where no service runs."""
    client(trained)
    pipeline = mlflow.sklearn.load_model(f"models:/{NAME}@candidate")
    texts = dict.fromkeys(SETTINGS.data.text, str)
    answer = predict(pipeline, pd.read_csv(trained / SETTINGS.data.path, dtype=texts).head(50))
    assert len(answer) == 50
    assert np.isfinite(answer).all()


def test_the_card_says_how_the_model_does(trained: Path) -> None:
    """Metrics that the quality gate accepted, and how far the runtime that serves is from scikit-learn."""
    card = bundles.read(trained / "bundle").card
    assert decide(SETTINGS.quality, card.metrics, None, None, 0)[0] == "pass"
    assert (card.runtime == "onnx") == (card.reason == "")
    assert card.runtime == "sklearn" or card.parity["largest_difference"] <= card.parity["tolerance"]


@pytest.fixture(name="train")
def _train(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """`python -m training.train` in `small`, without waiting for the imports again."""
    monkeypatch.chdir(small)

    def call(**settings: str) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            code = main(["--force"])  # a test may change the code in this process alone
        return code, capsys.readouterr().out

    return call


Train = Callable[..., tuple[int, str]]


def test_same_seed_same_data_same_bundle(twins: tuple[Path, Path]) -> None:
    """Metrics to the last digit and the bundle's hash come again, whatever the seed of Python's hashes."""
    first, second = (bundles.read(each / "bundle").card for each in twins)
    assert first.metrics == second.metrics
    assert first.bundle_sha256 == second.bundle_sha256
    assert first.run_id != second.run_id


def test_a_model_below_the_floor_goes_no_further(project: Path, train: Train) -> None:
    """Exit code 1, one line that says by how much; no version, no bundle."""
    code, output = train(MLOPS_QUALITY__FLOOR=FLOOR)
    assert code == 1
    assert "in pipeline.toml under [quality]." in output  # which looks like markup
    assert re.search(
        rf"Quality gate: fail\. {SETTINGS.quality.metric} is \S+, \S+ (below|above) the \w+ of {FLOOR}", output
    )
    assert client(project).search_registered_models() == []
    assert not (project / "bundle").exists()


def test_a_model_worse_than_the_champion_goes_no_further(
    project: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that always says the same: the floor lets it pass, the comparison does not, and nothing changes."""
    assert train(MLOPS_QUALITY__FLOOR=ANYTHING)[0] == 0
    client(project).set_registered_model_alias(NAME, "champion", "1")
    before = bundles.read(project / "bundle").card
    poor = DummyRegressor() if TASK == "regression" else DummyClassifier()
    monkeypatch.setattr("model.estimator.build", lambda *_: poor)
    code, output = train(MLOPS_QUALITY__FLOOR=ANYTHING)
    assert code == 1
    assert "worse than the champion's" in output
    assert aliases(project) == {"candidate": "1", "champion": "1"}
    assert bundles.read(project / "bundle").card == before


def test_the_champion_is_judged_on_the_same_rows(project: Path, train: Train) -> None:
    """New data: the champion answers for the rows that are held out today, with its own code."""
    free = {"MLOPS_QUALITY__FLOOR": ANYTHING, "MLOPS_QUALITY__TOLERANCE": "1e12"}
    assert train(**free)[0] == 0
    store = client(project)
    store.set_registered_model_alias(NAME, "champion", "1")
    metric, nobody = SETTINGS.quality.metric, 123.0  # an old figure that nobody may use
    store.log_metric(store.get_model_version(NAME, "1").run_id, metric, nobody)
    path = project / SETTINGS.data.path
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-30]))
    (project / "src" / "model" / "data.py").write_text("changed since")
    code, output = train(**free)
    assert code == 0
    assert "Note:" not in output
    assert re.search(r"; champion \S+\)", output)
    assert "champion 123)" not in output


def test_a_champion_is_asked_though_a_feature_is_gone(
    project: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file still has the column: the champion gets it, and the candidate does without."""
    free = {"MLOPS_QUALITY__FLOOR": ANYTHING, "MLOPS_QUALITY__TOLERANCE": "1e12"}
    assert train(**free)[0] == 0
    client(project).set_registered_model_alias(NAME, "champion", "1")
    code, output = train(**free, **without_last(monkeypatch))
    assert code == 0, output
    assert "Note: not compared" not in output
    assert any("features that are gone" in each for each in notes.read(project, Model).changed)
    assert re.search(r"; champion \S+\)", output)


def without_last(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings of a project that has dropped its last feature."""
    kept = [*SETTINGS.data.kinds][:-1]
    monkeypatch.setattr("pipeline.columns.derive", lambda record: {kept[0]: record[kept[0]]})
    lists = {kind: [n for n in getattr(SETTINGS.data, kind) if n in kept] for kind in ("numeric", "text")}
    return {f"MLOPS_DATA__{kind.upper()}": json.dumps(names) for kind, names in lists.items()}


def test_a_champion_that_cannot_be_asked_leaves_it_to_the_floor(
    project: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has lost a column that it needs: nothing is compared, and that is said."""
    free = {"MLOPS_QUALITY__FLOOR": ANYTHING, "MLOPS_QUALITY__TOLERANCE": "1e12"}
    assert train(**free)[0] == 0
    client(project).set_registered_model_alias(NAME, "champion", "1")
    path, dropped = project / SETTINGS.data.path, [*SETTINGS.data.kinds][-1]
    pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns=dropped).to_csv(path, index=False)
    code, output = train(**free, **without_last(monkeypatch))
    assert code == 0, output
    assert "Note: not compared with the champion: today's data has not what it needs (" in output
    assert dropped in output
    assert "compared with no champion)" in output


def test_nobody_is_judged_on_rows_that_he_has_learned(project: Path, train: Train) -> None:
    """A new column moves every row to the other part or not: the champion is asked for those that it does not know."""
    free = {"MLOPS_QUALITY__FLOOR": ANYTHING, "MLOPS_QUALITY__TOLERANCE": "1e12"}
    assert train(**free)[0] == 0
    client(project).set_registered_model_alias(NAME, "champion", "1")
    path = project / SETTINGS.data.path
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.assign(row=range(len(frame))).to_csv(path, index=False)
    code, output = train(**free)
    assert code == 0, output
    found = re.search(r"Note: ([\d,]+) held-out rows are left out of the comparison: the champion has learned", output)
    assert found
    held_out = notes.read(project, Model).rows
    assert 0.7 * held_out < int(found[1].replace(",", "")) < 0.9 * held_out


@pytest.mark.skipif(TASK == "regression", reason="there are no classes")
def test_a_champion_of_other_classes_is_not_asked(project: Path, train: Train) -> None:
    """Labels that were renamed: it answers another question, so the floor alone decides, and that is said."""
    free = {"MLOPS_QUALITY__FLOOR": ANYTHING, "MLOPS_QUALITY__TOLERANCE": "1e12"}
    assert train(**free)[0] == 0
    client(project).set_registered_model_alias(NAME, "champion", "1")
    path = project / SETTINGS.data.path
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame[SETTINGS.data.target] = "new " + frame[SETTINGS.data.target]
    frame.to_csv(path, index=False)
    positive = SETTINGS.data.positive
    code, output = train(**free, **({"MLOPS_DATA__POSITIVE": f"new {positive}"} if positive else {}))
    assert code == 0, output
    assert "Note: not compared with the champion: the champion knows other classes (" in output
    assert "compared with no champion)" in output


@pytest.mark.skipif(TASK == "regression", reason="there are no classes")
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"MLOPS_DATA__TARGET": "LowDoc", "MLOPS_DATA__POSITIVE": "Y"}, "the champion predicts 'MIS_Status'. "),
        ({"MLOPS_DATA__POSITIVE": "P I F", "MLOPS_QUALITY__METRIC": "average_precision"}, "; champion 0.9"),
        ({"MLOPS_TRAINING__HOLDOUT": "0.5"}, "(champion 0.9"),
    ],
    ids=["target", "positive", "holdout"],
)
def test_another_question_of_the_same_file(
    project: Path, train: Train, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], expected: str
) -> None:
    """The champion's old figure is about another target, class or part of the rows: it is asked again, or left out."""
    free = {"MLOPS_QUALITY__FLOOR": "0.1", "MLOPS_QUALITY__TOLERANCE": "1"}
    assert train(**free)[0] == 0
    store = client(project)
    store.set_registered_model_alias(NAME, "champion", "1")
    run = store.get_model_version(NAME, "1").run_id
    for metric in ("roc_auc", "average_precision"):
        store.log_metric(run, metric, 123.0)  # an old figure that nobody may use
    if "MLOPS_DATA__TARGET" in settings:
        monkeypatch.setattr("pipeline.columns.derive", dict)
        lists = {kind: [n for n in getattr(SETTINGS.data, kind) if n != "LowDoc"] for kind in ("numeric", "text")}
        settings = settings | {f"MLOPS_DATA__{kind.upper()}": json.dumps(names) for kind, names in lists.items()}
    code, output = train(**free, **settings)
    assert code == 0, output
    assert expected in output
    assert "champion 123)" not in output


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"MLOPS_TRAINING__HOLDOUT": "2"}, "pipeline.toml: training.holdout"),
        ({"MLOPS_DATA__TARGET": "No such column"}, "line 1: no column 'No such column' (pipeline.toml, data.target)"),
    ],
    ids=["settings", "column"],
)
def test_what_is_wrong_is_said_in_one_line(train: Train, settings: dict[str, str], expected: str) -> None:
    """Exit code 3 and no traceback: the last line names the file."""
    code, output = train(**settings)
    assert code == 3
    assert expected in output.strip().splitlines()[-1]


def test_a_difference_without_bounds_is_a_reason(project: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has no infinity: the card can be read, and its reason says it."""
    monkeypatch.setattr("training.onnx.export.largest_difference", lambda *_: float("inf"))
    code, _ = train(MLOPS_QUALITY__FLOOR=ANYTHING)
    card = bundles.read(project / "bundle").card
    assert (code, card.runtime, "largest_difference" in card.parity) == (0, "sklearn", False)
    assert "differs from scikit-learn by inf" in card.reason


WITHOUT = """
import sys
import sklearn.ensemble, sklearn.linear_model  # for themselves they have all their modules
sys.modules[sys.argv[1]] = None
from training.train import main
sys.exit(main([]))
"""
PLAIN = """
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import make_pipeline


def build(task, seed):
    columns = make_column_transformer(("passthrough", make_column_selector(dtype_include="number")))
    return make_pipeline(columns, DummyRegressor() if task == "regression" else DummyClassifier())
"""


@pytest.mark.parametrize(
    "module",
    [
        "sklearn.ensemble._hist_gradient_boosting.predictor",
        pytest.param("sklearn.linear_model._base", marks=pytest.mark.slow),
        pytest.param("skl2onnx.operator_converters.imputer_op", marks=pytest.mark.slow),
    ],
)
def test_a_private_module_that_moved_is_a_reason(small: Path, module: str) -> None:
    """A new release of a library may rename what is its own: training goes on, scikit-learn serves, the card says why.

    Nor does training import such a module at its start.
    """
    (small / "src" / "model" / "estimator.py").write_text(PLAIN)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module],
        cwd=small,
        env=environment(small, MLOPS_QUALITY__FLOOR=ANYTHING),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    card = bundles.read(small / "bundle").card
    assert card.runtime == "sklearn"
    assert module in card.reason
    assert f"scikit-learn will serve this model: {card.reason}" in done.stdout


def test_each_row_is_derived_once(project: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """For fitting, for the metrics and for the comparison with ONNX alike: `derive` may be slow.

    Besides, MLflow tries three, a few are asked again for each field in which no value is missing, and some held-out
    ones with each column shuffled: 40,000 at most, about.
    """
    calls = list[Any]()
    own = columns.derive
    monkeypatch.setattr("pipeline.columns.derive", lambda record: calls.append(record) or own(record))
    assert train(MLOPS_QUALITY__FLOOR=ANYTHING)[0] == 0
    bundle = bundles.read(project / "bundle")
    whole = [field for field in bundle.contract.fields if not field.nullable]
    fields, held_out = len(bundle.contract.fields), notes.read(project, Model).rows
    shuffled = len(importance.chosen(held_out, fields)) * (fields + 1)
    assert len(calls) == bundle.card.data["rows"] + 3 + gaps.ROWS * len(whole) + shuffled


def test_what_matters_may_not_be_known(small: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the report says why, such as of a derive that refuses a row that cannot be: an end before its start."""
    known = {tuple(record.values()) for record in records(read(SETTINGS.data, 0.5).frame)}
    own = columns.derive

    def strict(record: columns.Record) -> dict[str, columns.Value]:
        if tuple(record.values()) not in known:
            raise ValueError("there is no such row")
        return own(record)

    monkeypatch.setattr("pipeline.columns.derive", strict)
    code, output = train(MLOPS_QUALITY__FLOOR=ANYTHING)
    model = notes.read(small, Model)
    assert (code, model.importance) == (0, [])
    assert model.notes[-1].startswith("which columns matter to the model is not known: ")
    assert f"Note: {model.notes[-1]}" in output
    assert "there is no such row" in output


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (
            "{'x': len(record) / None}",
            "src/model/data.py, line 2: derive failed on line 2 of the data file with TypeError(",
        ),
        ("{'x': (1,", "src/model/data.py, line 2: SyntaxError: '(' was never closed"),
        ("{'x': [1, 2]}", "src/model/data.py: column 'x' of line 2 of the data file is a list, no number and no text"),
        ("{}", "src/model/data.py: derive gives no columns"),
    ],
    ids=["raises", "syntax", "list", "empty"],
)
def test_a_derive_that_fails_is_said_in_one_line(small: Path, returned: str, expected: str) -> None:
    """The user's own code: its file, its line and the error, no traceback through ours, and exit code 3."""
    (small / "src" / "model" / "data.py").write_text(f"def derive(record):\n    return {returned}\n")
    done = subprocess.run(
        [sys.executable, "-m", "training.train"],
        cwd=small,
        env=environment(small, COLUMNS="200"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert expected in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr


def test_a_store_that_cannot_be_reached_is_said_in_one_line(train: Train) -> None:
    """Exit code 3: where it is, without the password, and what MLflow said."""
    code, output = train(MLFLOW_TRACKING_URI="http://somebody:secret@127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert code == 3
    assert "MLflow at http://127.0.0.1:9: " in output.strip().splitlines()[-1]
    assert "secret" not in output


KILLER = """
import os, signal, sys, time
import mlflow.store.model_registry.sqlalchemy_store, mlflow.store.tracking.sqlalchemy_store  # once, not in each child
from training.train import main

def attempt(seconds):
    child = os.fork()
    if child == 0:
        os._exit(main([]))
    started = time.monotonic()
    while seconds is None or time.monotonic() - started < seconds:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, status
            return time.monotonic() - started
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return seconds

whole = attempt(None)
for share in (0.7, 0.9, 0.96):
    attempt(whole * share)
    print("killed", flush=True)
    sys.stdin.readline()
attempt(None)
"""


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_half_done(small: Path) -> None:
    """SIGKILL while training: the aliases and the bundle are those of before or of after, and the next run works."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLER],
        cwd=small,
        env=environment(small, MLOPS_QUALITY__FLOOR=ANYTHING),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        kills = 0
        for line in process.stdout:
            if line == "killed\n":
                kills += 1
                bundles.read(small / "bundle")
                assert client(small).get_model_version_by_alias(NAME, "candidate").status == "READY"
                process.stdin.write("go on\n")
    assert (kills, process.returncode) == (3, 0)
    assert aliases(small) == {"candidate": bundles.read(small / "bundle").card.version}


def test_the_champion_is_laid_out_whole(project: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it takes to serve the champion beside a candidate: its own code, settings and bundle."""
    assert lay_out(NAME, "", project) is None
    assert train(MLOPS_QUALITY__FLOOR=ANYTHING)[0] == 0
    client(project).set_registered_model_alias(NAME, "champion", "1")
    (project / "serving" / "app.py").write_text("changed since")
    note = lay_out(NAME, "", project)
    assert note == notes.read(project, Baseline) == Baseline("", "version 1", "", ".mlops/baseline")
    laid_out = project / note.folder
    assert "create_app" in (laid_out / "serving" / "app.py").read_text()
    assert (laid_out / "pipeline.toml").exists()
    assert bundles.read(laid_out / "bundle").card.version == "1"
    client(project).delete_registered_model_alias(NAME, "champion")
    assert lay_out(NAME, "", project) is None
    assert list((project / ".mlops").iterdir()) == []
