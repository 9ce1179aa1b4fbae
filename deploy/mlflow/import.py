"""Takes a store of files into this server: run in its container, with a tar of mlflow.db and mlartifacts/ on stdin.

    … | docker compose run --rm --no-TTY --entrypoint /app/.venv/bin/python mlflow -c "$(cat import.py)" NAME PREFIX

NAME: of the project's experiment; PREFIX: the URI of mlartifacts/ in that database. Experiments get new numbers; runs,
versions, aliases, tags and times stay as they are. All of it is one transaction: what fails leaves nothing behind.
"""

import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import mlflow.store.db.utils  # noqa: F401  which makes Base know every table
import sqlalchemy as sa
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from mlflow.store.db.base_sql_model import Base

BATCH = 1000  # rows
THERE = ("experiments", "workspaces")  # tables that every store has rows in


class Stream:
    """A file of which boto3 sees that it can only be read on."""

    def __init__(self, file: Any) -> None:
        self.read = file.read


def refuse(why: str) -> None:
    sys.exit(f"Not taken: {why}")


def check(source: sa.Connection, target: sa.Connection) -> None:
    """Exits where the two are of different releases, or the server has a model or an experiment of the same name."""
    version = sa.text("SELECT version_num FROM alembic_version")
    if (ours := source.scalar(version)) != (theirs := target.scalar(version)):
        refuse(f"the store has the layout {ours}, the server has {theirs}: make -C deploy/mlflow upgrade TO=folder")
    tables = Base.metadata.tables
    experiments, runs = tables["experiments"].c, tables["runs"].c
    used = sa.select(experiments.name).join(tables["runs"], experiments.experiment_id == runs.experiment_id).distinct()
    models = sa.select(tables["registered_models"].c.name)
    for what, names, known in (("an experiment", used, {"Default"}), ("a model", models, set[str]())):
        if both := set(source.scalars(names)) & set(target.scalars(names)) - known:
            refuse(f"the server has {what} of that name already: {', '.join(sorted(both))}")


def experiments(source: sa.Connection, target: sa.Connection) -> dict[int, int]:
    """Makes the experiments; their new numbers by the old ones."""
    table, numbers = Base.metadata.tables["experiments"], {}
    there = {name: number for name, number in target.execute(sa.select(table.c.name, table.c.experiment_id))}
    for row in source.execute(sa.select(table)).mappings():
        number = there.get(row["name"])
        if number is None:
            values = {key: value for key, value in row.items() if key != "experiment_id"}
            number = target.scalar(sa.insert(table).returning(table.c.experiment_id), values)
        numbers[row["experiment_id"]] = number
    return numbers


def rows(source: sa.Connection, target: sa.Connection, numbers: dict[int, int], old: str, new: str) -> int:
    """Copies every other table; how many rows that were. old, new: where the artifacts were, and are."""

    def moved(key: str, value: Any) -> Any:
        if key == "experiment_id" and value is not None:
            return type(value)(numbers[int(value)])
        if isinstance(value, str) and (value == old or value.startswith(f"{old}/")):
            return new + value.removeprefix(old)
        return value

    count = 0
    for table in Base.metadata.sorted_tables:
        if table.name in THERE:
            continue
        for batch in source.execute(sa.select(table)).mappings().partitions(BATCH):
            target.execute(sa.insert(table), [{key: moved(key, value) for key, value in row.items()} for row in batch])
            count += len(batch)
    table = Base.metadata.tables["experiments"]
    for number in set(numbers.values()):
        where = table.c.experiment_id == number
        location = target.scalar(sa.select(table.c.artifact_location).where(where))
        target.execute(sa.update(table).where(where), {"artifact_location": moved("", location)})
    return count


def upload(tar: tarfile.TarFile, number: int) -> int:
    """Stores the rest of the tar, below the number of an experiment; how many files that were."""
    destination = urlsplit(os.environ["MLFLOW_ARTIFACTS_DESTINATION"])
    client, count = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL")), 0
    while member := tar.next():
        if member.isfile():
            path = Path(member.name).relative_to("mlartifacts")
            key = f"{destination.path.strip('/')}/{number}/{path}".lstrip("/")
            client.upload_fileobj(Stream(tar.extractfile(member)), destination.netloc, key)
            count += 1
            if count % 500 == 0:
                print(f"{count:,} artifacts ...", flush=True)
    return count


def main(name: str, prefix: str) -> None:
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        first = tar.next()
        if first is None or first.name != "mlflow.db":
            refuse("mlflow.db is not what comes first")
        tar.extract(first, folder, filter="data")
        here = sa.create_engine(f"sqlite:///{folder}/mlflow.db")
        there = sa.create_engine(os.environ["MLFLOW_BACKEND_STORE_URI"])
        with here.connect() as source, there.begin() as target:
            check(source, target)
            numbers = experiments(source, target)
            table = Base.metadata.tables["experiments"]
            ours = source.scalar(sa.select(table.c.experiment_id).where(table.c.name == name))
            if ours is None:
                refuse(f"the store has no experiment {name}")
            number = numbers[ours]
            count = rows(source, target, numbers, prefix, f"mlflow-artifacts:/{number}")
            files = upload(tar, number)
    print(f"Taken: {count:,} rows and {files:,} artifacts.")


try:
    main(*sys.argv[1:])
except (sa.exc.SQLAlchemyError, BotoCoreError, ClientError, Boto3Error, tarfile.TarError) as error:
    refuse(str(error).splitlines()[0])
