"""training.show, which is `make data`: where the data lies, and what is new since the champion."""

from pathlib import Path

from mlflow import MlflowClient

from pipeline.settings import load_settings
from tests.engine.conftest import PROJECT, run

SETTINGS = load_settings(PROJECT, {})
FREE = {"MLOPS_QUALITY__FLOOR": "0.1"}


def show(project: Path, **environment: str) -> str:
    done = run(project, "training.show", COLUMNS="150", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def test_what_is_read_and_what_is_new(project: Path) -> None:
    """Place, rows, columns; and since the champion, the rows to learn from that have come and gone."""
    path = project / SETTINGS.data.path
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:1001]))
    before = show(project)
    assert f"where {SETTINGS.data.path} rows 1,000, of which " in before
    assert "There is no champion yet." in before
    assert all(name in before for name in SETTINGS.data.columns)
    assert run(project, "training.train", **FREE).returncode == 0
    client, name = MlflowClient(f"sqlite:///{project / 'mlflow.db'}"), SETTINGS.project.name
    client.set_registered_model_alias(name, "champion", "1")
    assert "Since the champion, version 1: it has learned from these very rows." in show(project)
    path.write_text("".join([lines[0], *lines[101:1301]]))
    after = show(project)
    assert "rows 1,200, of which" in after
    assert "rows to learn from are new" in after


def test_what_cannot_be_shown_is_one_line(project: Path) -> None:
    """Exit code 3."""
    done = run(project, "training.show", MLOPS_DATA__PATH="none.csv")
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == "Cannot show the data: none.csv: no such file (pipeline.toml, data.path)"
