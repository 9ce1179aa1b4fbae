"""MLflow's store where it is a file: mlflow.db, and mlartifacts/ beside it.

It may have been written in another folder, since MLflow keeps whole paths, or by another release of MLflow.
"""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import mlflow
from alembic.config import Config
from alembic.script import ScriptDirectory
from mlflow.exceptions import MlflowException

VERSION = ("alembic_version", "version_num")
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


class StoreError(MlflowException):  # type: ignore[misc]  # which has no types
    """The store is of a newer MLflow, or cannot be upgraded; the message says what to do."""


def uri_of(database: Path) -> str:
    return f"sqlite:///{str(database).replace('%', '%25')}"  # which SQLAlchemy decodes


def file_of(uri: str) -> Path | None:
    """The file of a store that is one."""
    return Path(unquote(uri.removeprefix("sqlite:///"))).absolute() if uri.startswith("sqlite:///") else None


def artifacts(database: Path) -> Path:
    return database.parent / "mlartifacts"


def prepare(database: Path) -> None:
    """Makes a store that is there one of this folder and of this MLflow, and says what it took. Raises StoreError."""
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        there = [each for each in LOCATIONS if _has(db, *each)]  # older releases have fewer
        if moved := _relocate(db, there, artifacts(database).as_uri()):
            print(f"MLflow's store was written in {moved}: its paths are those of today now.", flush=True)
        version = db.execute("SELECT version_num FROM alembic_version").fetchone() if _has(db, *VERSION) else None
    config = Config()
    config.set_main_option("script_location", str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]  # the newest first
    if version is None or version[0] == known[0]:
        return
    if version[0] not in known:
        raise StoreError(
            f"{database.name} was written by a newer release than MLflow {mlflow.__version__}, which is installed. "
            f"Install what requirements/ named then, or move {database.name} and mlartifacts/ away"
        )
    kept = database.with_name(f"{database.name}.old")
    shutil.copy(database, kept)
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", uri_of(database)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.copy(kept, database)
        raise StoreError(f"{database.name} cannot be upgraded: {(done.stderr.strip().splitlines() or [''])[-1]}")
    print(f"MLflow's store was written by an older release: upgraded. The old file is {kept.name}.", flush=True)


def _relocate(db: sqlite3.Connection, there: Sequence[tuple[str, str]], new: str) -> str:
    """Sets the paths of a store that was moved with its folder; where it was, empty where it still is."""
    moved = ""
    for (old,) in db.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall() if there else ():
        if old == new or not old.startswith("file:") or not old.endswith("/mlartifacts"):
            continue
        moved = old.removesuffix("/mlartifacts")
        for table, column in there:
            db.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608  names of ours
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
            )
    return moved


def _has(db: sqlite3.Connection, table: str, column: str) -> bool:
    return column in {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
