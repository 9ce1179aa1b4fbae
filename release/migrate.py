"""Takes the store of files, mlflow.db and mlartifacts/, to the MLflow server of deploy/mlflow.

    make migrate-store
    python -m release.migrate

Versions, aliases, tags, runs and artifacts stay as they are; so do the files here. The server may have other projects,
but none of this name. Exit code 0: taken; 1: refused; 3: could not be done.
"""

import contextlib
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO, cast

from mlflow.exceptions import MlflowException

from pipeline import command
from pipeline.settings import SettingsError, load_settings
from training import registry, store

FOLDER = Path("deploy") / "mlflow"
PYTHON = "/app/.venv/bin/python"  # in the image


def migrate(name: str, root: Path) -> int:
    """Sends the store of a project; the exit code of what takes it. Raises OSError."""
    script = (root / FOLDER / "import.py").read_text()
    command = ["docker", "compose", "run", "--rm", "--no-TTY", "--no-deps", f"--entrypoint={PYTHON}", "mlflow"]
    artifacts = store.artifacts(root / "mlflow.db")
    with tempfile.TemporaryDirectory() as scratch:
        snapshot = Path(scratch, "mlflow.db")  # as it is at one moment, though a training may go on
        with (
            contextlib.closing(sqlite3.connect(root / "mlflow.db")) as here,
            contextlib.closing(sqlite3.connect(snapshot)) as copy,
        ):
            here.backup(copy)
        with subprocess.Popen(
            [*command, "-c", script, name, artifacts.as_uri()], cwd=root / FOLDER, stdin=subprocess.PIPE
        ) as taker:
            pipe = cast(IO[bytes], taker.stdin)
            with contextlib.suppress(BrokenPipeError), tarfile.open(fileobj=pipe, mode="w|") as tar:
                tar.add(snapshot, "mlflow.db")
                if artifacts.is_dir():
                    tar.add(artifacts, "mlartifacts")
            with contextlib.suppress(BrokenPipeError):  # it has refused, and says why
                pipe.close()
    return taker.returncode


def main() -> int:
    root = Path.cwd()
    try:
        name = load_settings().project.name
        if not (root / "mlflow.db").is_file():
            print("There is no mlflow.db here. Of GitHub's runs: gh run download --name mlflow", file=sys.stderr)
            return 1
        store.prepare(root / "mlflow.db")
        code = migrate(name, root)
    except (SettingsError, MlflowException, OSError) as error:
        print(f"Cannot migrate: {registry.complaint(error)}", file=sys.stderr)
        return 3
    if code:
        print("Not migrated: the server is as it was.", file=sys.stderr)
        return 1
    print("Next: MLFLOW_TRACKING_URI names the server; docs/mlflow.md says how.")
    return 0


if __name__ == "__main__":
    command.end(main)
