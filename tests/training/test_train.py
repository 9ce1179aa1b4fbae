"""training.train and training.champion: the real thing on a real SQLite store."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline import bundle as bundles
from tests.conftest import environment, run
from training.export import predict

NAME = "loan-default"


def client(project: Path) -> MlflowClient:
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
    return MlflowClient()


def aliases(project: Path) -> dict[str, str]:
    return {k: str(v) for k, v in client(project).get_registered_model(NAME).aliases.items()}


def small(project: Path, rows: int = 1500) -> Path:
    """The project with every sixth loan or so: trains in a moment."""
    path = project / "data" / "sba_loans.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *random.Random(3).sample(lines[1:], rows)]))
    return project


def test_the_candidate_is_registered_with_everything(trained: Path) -> None:
    """Alias, parameters, metrics, the data's digest, the commit, curves as pictures, signature and example."""
    registry = client(trained)
    version = registry.get_model_version_by_alias(NAME, "candidate")
    logged = registry.get_run(version.run_id)
    assert {"roc_auc", "average_precision", "log_loss", "brier"} == set(logged.data.metrics)
    assert {"seed", "holdout", "features"} <= set(logged.data.params)
    assert "git_sha" in logged.data.tags
    assert [(d.dataset.name, bool(d.dataset.digest)) for d in logged.inputs.dataset_inputs] == [("sba_loans", True)]
    curves = {artifact.path for artifact in registry.list_artifacts(version.run_id, "curves")}
    assert curves == {"curves/roc.png", "curves/precision_recall.png", "curves/calibration.png"}
    info = mlflow.models.get_model_info(f"models:/{NAME}@candidate")
    assert [column.name for column in info.signature.inputs][:3] == ["ApprovalFY", "NAICS", "Term"]
    assert info.saved_input_example_info is not None
    card = bundles.read(trained / "bundle").card
    assert (card.version, card.run_id) == (str(version.version), version.run_id)
    assert card.metrics == logged.data.metrics


def test_the_registered_pipeline_takes_rows_of_the_file(trained: Path) -> None:
    """Loaded by its alias, it answers on the file's own columns: so it can score a table where no service runs."""
    client(trained)
    pipeline = mlflow.sklearn.load_model(f"models:/{NAME}@candidate")
    frame = pd.read_csv(trained / "data" / "sba_loans.csv").head(50)
    probabilities = predict(pipeline, frame)
    assert probabilities.shape == (50, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_the_model_is_good_on_loans_it_never_saw(trained: Path) -> None:
    """The promise of the README, and the reason why the floor in pipeline.toml may stand where it does."""
    card = bundles.read(trained / "bundle").card
    assert card.metrics["roc_auc"] >= 0.96
    assert card.runtime == "onnx"
    assert card.parity["largest_difference"] <= 1e-6
    assert card.parity["rows"] > 1500


def test_same_seed_same_data_same_bundle(project: Path) -> None:
    """Metrics to the last digit and the bundle's hash come again; the version goes up, the alias with it."""
    small(project)
    cards = []
    for seed in ("1", "2"):
        done = run(project, "training.train", PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stdout + done.stderr
        cards.append(bundles.read(project / "bundle").card)
    first, second = cards
    assert first.metrics == second.metrics
    assert first.bundle_sha256 == second.bundle_sha256
    assert (first.version, second.version) == ("1", "2")
    assert aliases(project) == {"candidate": "2"}


def test_a_model_below_the_floor_goes_no_further(trained: Path, project: Path) -> None:
    """Exit code 1, one line that says by how much; no version, no bundle."""
    small(project)
    done = run(project, "training.train", MLOPS_QUALITY__FLOOR="0.999")
    assert done.returncode == 1
    assert re.search(r"Quality gate: fail\. roc_auc is 0\.\d+, 0\.\d+ beyond the floor of 0\.999", done.stdout)
    assert client(project).search_registered_models() == []
    assert not (project / "bundle").exists()


def test_a_model_worse_than_the_champion_goes_no_further(project: Path) -> None:
    """One tree instead of two hundred: above a low floor, and still refused, with nothing changed."""
    small(project)
    assert run(project, "training.train").returncode == 0
    client(project).set_registered_model_alias(NAME, "champion", "1")
    before = bundles.read(project / "bundle").card
    path = project / "src" / "model" / "estimator.py"
    path.write_text(path.read_text().replace("max_iter=200", "max_iter=1"))
    done = run(project, "training.train", MLOPS_QUALITY__FLOOR="0.5")
    assert done.returncode == 1
    assert "worse than the champion's" in done.stdout
    assert aliases(project) == {"candidate": "1", "champion": "1"}
    assert bundles.read(project / "bundle").card == before


def test_the_champion_is_judged_on_the_same_rows(project: Path) -> None:
    """New data: the champion answers for the rows that are held out today, with its own code."""
    small(project)
    assert run(project, "training.train").returncode == 0
    registry = client(project)
    registry.set_registered_model_alias(NAME, "champion", "1")
    registry.log_metric(registry.get_model_version(NAME, "1").run_id, "roc_auc", 0.5)  # an old figure nobody may use
    path = project / "data" / "sba_loans.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-30]))
    with (project / "src" / "model" / "data.py").open("a") as file:
        file.write("\n# changed since\n")
    done = run(project, "training.train", MLOPS_QUALITY__TOLERANCE="0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Note:" not in done.stdout
    (champion,) = re.findall(r"champion (0\.\d+)\)", done.stdout)
    assert float(champion) > 0.9


def test_regression_goes_through_as_well(project: Path) -> None:
    """Another task by pipeline.toml alone: metrics, pictures and an exact ONNX model."""
    path = project / "pipeline.toml"
    text = path.read_text()
    for old, new in {
        'task = "classification"': 'task = "regression"',
        'target = "MIS_Status"': 'target = "DisbursementGross"',
        'positive = "CHGOFF"': 'positive = ""',
        '"GrAppv", "SBA_Appv",': "",
        'metric = "roc_auc"': 'metric = "r2"',
        "floor = 0.95": "floor = 0.3",
    }.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    done = run(project, "training.train")
    assert done.returncode == 0, done.stdout + done.stderr
    card = bundles.read(project / "bundle").card
    assert set(card.metrics) == {"r2", "mae", "rmse"}
    assert (card.runtime, card.reason) == ("onnx", "")
    version = client(project).get_model_version_by_alias(NAME, "candidate")
    curves = {artifact.path for artifact in client(project).list_artifacts(version.run_id, "curves")}
    assert curves == {"curves/predicted.png", "curves/residuals.png"}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("pipeline.toml", "holdout = 0.2", "holdout = 2"), "pipeline.toml: training.holdout"),
        (("pipeline.toml", '"Term"', '"Trem"'), "sba_loans.csv, line 1: no column 'Trem'"),
        (("src/model/data.py", 'columns.pop("NAICS")', 'columns.pop("Naics")'), "src/model/data.py"),
    ],
    ids=["settings", "column", "derive"],
)
def test_what_is_wrong_is_said_in_one_line(project: Path, edit: tuple[str, str, str], expected: str) -> None:
    """Exit code 3 and no traceback: the last line names the file."""
    path = small(project) / edit[0]
    text = path.read_text()
    assert edit[1] in text
    path.write_text(text.replace(edit[1], edit[2]))
    done = run(project, "training.train")
    assert done.returncode == 3
    assert "Traceback" not in done.stdout + done.stderr
    assert expected in done.stdout.strip().splitlines()[-1]


def test_killed_at_any_moment_nothing_is_half_done(project: Path) -> None:
    """SIGKILL while training: the aliases and the bundle are those of before or of after, and the next run works."""
    small(project)
    assert run(project, "training.train").returncode == 0
    started = time.monotonic()
    assert run(project, "training.train").returncode == 0
    whole = time.monotonic() - started
    for share in (0.6, 0.8, 0.9, 0.97):
        process = subprocess.Popen(
            [sys.executable, "-m", "training.train"],
            cwd=project,
            env=environment(project),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(whole * share)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        bundles.read(project / "bundle")
        version = client(project).get_model_version_by_alias(NAME, "candidate")
        assert version.status == "READY"
    assert run(project, "training.train").returncode == 0
    assert aliases(project)["candidate"] == bundles.read(project / "bundle").card.version


def test_the_champion_is_laid_out_whole(project: Path) -> None:
    """All that it takes to serve the champion beside a candidate: its own code, settings and bundle."""
    small(project)
    assert run(project, "training.champion").returncode == 0
    assert not (project / ".mlops" / "champion.json").exists()
    assert run(project, "training.train").returncode == 0
    client(project).set_registered_model_alias(NAME, "champion", "1")
    (project / "serving" / "app.py").write_text("changed since")
    done = run(project, "training.champion")
    assert done.returncode == 0, done.stderr
    note = json.loads((project / ".mlops" / "champion.json").read_text())
    assert (note["name"], note["version"]) == (NAME, "1")
    laid_out = project / note["directory"]
    assert "create_app" in (laid_out / "serving" / "app.py").read_text()
    assert (laid_out / "pipeline.toml").exists()
    assert bundles.read(laid_out / "bundle").card.version == "1"
