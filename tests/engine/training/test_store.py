"""A store of MLflow that comes from somewhere else: from another folder, or from another release."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base

from tests.engine.conftest import PROJECT, environment

CONNECT = "from training import registry; client = registry.connect('loans')"
WRITE = f"""import mlflow; {CONNECT}
with registry.run('loans', '') as number:
    mlflow.log_text('{{text}}', 'a.txt')
print(number)"""
READ = f"""import mlflow.artifacts; {CONNECT}
print(mlflow.artifacts.load_text(client.get_run('{{number}}').info.artifact_uri + '/a.txt'))"""


def python(folder: Path, code: str) -> tuple[list[str], str]:
    """Runs code in a folder, as each command is a process of its own; the lines that it printed, and its errors."""
    more = environment(PROJECT) | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=more, check=False, capture_output=True, text=True, timeout=120
    )
    return done.stdout.splitlines(), done.stderr


def version(database: Path) -> str:
    with contextlib.closing(sqlite3.connect(database)) as db:
        return str(db.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_a_store_moves_with_its_folder(tmp_path: Path) -> None:
    """MLflow keeps whole paths. What was logged before is found, what is logged now lies here, and it is said once."""
    old, new = tmp_path / "a project", tmp_path / "another %20"
    old.mkdir()
    (before,), _ = python(old, WRITE.format(text="before"))
    shutil.move(old, new)
    (said, after), _ = python(new, WRITE.format(text="after"))
    assert said == f"MLflow's store was written in {old.as_uri()}: its paths are those of today now."
    assert [python(new, READ.format(number=number))[0] for number in (before, after)] == [["before"], ["after"]]
    assert not old.exists()


def test_a_store_of_an_older_release_is_upgraded(tmp_path: Path) -> None:
    """By MLflow's own command; the file as it was is kept beside it."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    engine = utils.create_sqlalchemy_engine_with_retry(uri)
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(uri)
    script = ScriptDirectory.from_config(config)
    head = str(script.get_current_head())
    command.upgrade(config, str(script.get_revision(head).down_revision))
    engine.dispose()
    (said,), _ = python(tmp_path, CONNECT)
    assert said == "MLflow's store was written by an older release: upgraded. The old file is mlflow.db.old."
    assert [version(tmp_path / name) == head for name in ("mlflow.db", "mlflow.db.old")] == [True, False]
    assert python(tmp_path, CONNECT) == ([], "")


def test_a_store_of_a_newer_release_is_left_as_it_is(tmp_path: Path) -> None:
    """After a library update was taken back; the message says what to do."""
    python(tmp_path, CONNECT)
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    printed, errors = python(tmp_path, CONNECT)
    assert printed == []
    assert "StoreError: mlflow.db was written by a newer release than MLflow" in errors
    assert version(tmp_path / "mlflow.db") == "ffffffffffff"
