"""training.source against real servers: a store of objects, a database, the web; and training from each of them."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import sqlalchemy
from mlflow import MlflowClient
from pyarrow import fs

from pipeline import bundle as bundles
from pipeline.schema import Data
from pipeline.settings import load_settings
from tests.engine.conftest import PROJECT, run
from tests.engine.source import servers
from training.dataset import read
from training.source.rows import DataError

SETTINGS = load_settings(PROJECT, {})
ROWS = 900
FREE = {"MLOPS_QUALITY__FLOOR": "0.1", "MLOPS_QUALITY__TOLERANCE": "1"}


@pytest.fixture(name="project")
def _project(project: Path) -> Path:
    """With few rows, so that it trains in a moment."""
    path = project / SETTINGS.data.path
    path.write_text("".join(path.read_text().splitlines(keepends=True)[: ROWS + 1]))
    return project


def train(project: Path, **environment: str) -> tuple[int, str]:
    done = run(project, "training.train", **FREE, **environment)
    return done.returncode, done.stdout + done.stderr


def digest(project: Path) -> str:
    return bundles.read(project / "bundle").card.bundle_sha256


def table(project: Path) -> "pyarrow.Table":
    return pyarrow.csv.read_csv(project / SETTINGS.data.path)


@pytest.fixture(name="system")
def _system(store: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> fs.FileSystem:
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    system = fs.S3FileSystem(endpoint_override=store["AWS_ENDPOINT_URL"], allow_bucket_creation=True)
    system.create_dir("loans")
    return system


@pytest.fixture(name="loans")
def _loans(database: str, project: Path) -> Iterator[str]:
    """A database with the project's data in the table loans."""
    engine = sqlalchemy.create_engine(
        database.replace("postgresql:", "postgresql+psycopg:"), poolclass=sqlalchemy.NullPool
    )
    with engine.begin() as connection:
        frame = pd.read_csv(project / SETTINGS.data.path)
        frame.to_sql("loans", connection, if_exists="replace", index_label="nr")
        connection.execute(sqlalchemy.text("CREATE SEQUENCE IF NOT EXISTS counted"))
    yield database


SQL = "SELECT * FROM loans WHERE nr::int >= 0 ORDER BY nr"


def test_the_same_rows_make_the_same_model(project: Path, tmp_path: Path, system: fs.FileSystem, loans: str) -> None:
    """From a file, Parquet by a pattern in a store, a database and the web; and no password is said."""
    names = ", ".join(f'"{name}"' for name in table(project).column_names)
    sql = SQL.replace("*", names)
    assert train(project)[0] == 0
    expected = digest(project)
    folder = tmp_path / "folder"
    folder.mkdir()
    for part in range(3):
        pq.write_table(table(project).slice(part * ROWS // 3, ROWS // 3), f"loans/{part}.parquet", filesystem=system)
    shutil.copy(project / SETTINGS.data.path, folder / "loans.csv")
    with servers.web(folder) as address:
        places = {
            "s3://loans/*.parquet": {},
            f"{address.replace('//', '//ada:secret@')}/loans.csv?key=secret": {},
            "": {"DATABASE_URL": loans, "MLOPS_DATA__SQL": sql},
        }
        for path, environment in places.items():
            store = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
            code, output = train(project, MLOPS_DATA__PATH=path, **environment, **store)
            assert code == 0, output
            assert "The very same model came out" in output or "Nothing that makes the model has changed" in output
            assert digest(project) == expected, path
            assert "secret" not in output


def test_where_the_data_came_from_is_on_record(project: Path, loans: str, system: fs.FileSystem) -> None:
    """The place without a password, the version that the store gave it, the query, rows and digest: card and MLflow."""
    pq.write_table(table(project), "loans/of record.parquet", filesystem=system)
    store = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    assert train(project, MLOPS_DATA__PATH="s3://loans/of record.parquet", **store)[0] == 0
    data = bundles.read(project / "bundle").card.data
    assert (data["path"], data["files"], data["rows"]) == ("s3://loans/of record.parquet", 1, ROWS)
    assert str(data["version"]).startswith("etag ")
    again = train(project, MLOPS_DATA__PATH="s3://loans/of record.parquet", **store)[1]
    assert "Nothing that makes the model has changed" in again
    assert "read the data" not in again  # the store's word is enough
    queried = {"MLOPS_DATA__PATH": "", "DATABASE_URL": loans, "MLOPS_DATA__SQL": f"{SQL} LIMIT 800"}
    assert train(project, **queried)[0] == 0
    card = bundles.read(project / "bundle").card
    assert card.data["query"] == f"{SQL} LIMIT 800"
    assert str(card.data["path"]).startswith("postgresql://127.0.0.1:")
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    logged = [each.dataset for each in client.get_run(card.run_id).inputs.dataset_inputs]
    assert ["postgresql://127.0.0.1" in each.source for each in logged] == [True]
    for _ in range(2):  # each time it is on record for the next one
        again = train(project, **queried)[1]
        assert "Nothing that makes the model has changed" in again
        assert "fit on" not in again  # its rows have to be read, to know that


Change = Callable[[Mapping[str, str]], Mapping[str, str]]


def vanished(environment: Mapping[str, str]) -> Mapping[str, str]:
    return {**environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{servers.free_port()}"}


def wrong_key(environment: Mapping[str, str]) -> Mapping[str, str]:
    return {**environment, "AWS_SECRET_ACCESS_KEY": "wrong"}


def unchanged(environment: Mapping[str, str]) -> Mapping[str, str]:
    return environment


def data(**changes: str) -> Data:
    return msgspec.structs.replace(SETTINGS.data, **{"path": "", **changes})


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        ("s3://loans/a.parquet", vanished, r"the store cannot be reached; is its address right \(AWS_ENDPOINT_URL\)\?"),
        ("s3://loans/a.parquet", wrong_key, "the key that the environment has may not read it, or is wrong"),
        (
            "s3://loans/none.parquet",
            unchanged,
            r"s3://loans/none\.parquet: no such file",
        ),
        ("s3://loans/none/*.csv", unchanged, r"s3://loans/none/\*\.csv: no file has such a name"),
        (
            "https://127.0.0.1:1/a.csv?key=secret",
            unchanged,
            r"^https://\S+/a\.csv: cannot be fetched: the server cannot be reached",
        ),
    ],
)
def test_what_a_store_refuses_is_said(
    system: fs.FileSystem, monkeypatch: pytest.MonkeyPatch, path: str, change: Change, message: str
) -> None:
    """The address, and what to look at."""
    for name, value in change({name: os.environ[name] for name in os.environ if name.startswith("AWS_")}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match=message):
        read(data(path=path), 0.2)


@pytest.mark.parametrize(
    ("url", "sql", "message"),
    [
        ("", "SELECT 1", "the query needs a database: set DATABASE_URL"),
        ("{url}", "SELECT * FROM nowhere", 'says: relation "nowhere" does not exist'),
        ("{wrong}", "SELECT 1", "password authentication failed"),
        ("{gone}", "SELECT 1", "Connection refused"),
        ("{url}", "SELECT nr FROM loans", "the query: no column"),
        ("{url}", "SELECT nr, nr FROM loans", "the query: two columns are called 'nr'"),
        ("{url}", "SELECT * FROM loans WHERE nr::int < 0", "the query: no rows"),
        ("{url}", "DELETE FROM loans RETURNING *", 'syntax error at or near "DELETE"'),
        ("{url}", "SELECT nextval('counted')", "in a read-only transaction"),
        ("mysql://host/db", "SELECT 1", "the driver of the database is missing"),
        ("ada:secret@host", "SELECT 1", "DATABASE_URL is no address of a database"),
        ("postgresql://ada:secret@host:abc/db", "SELECT 1", "DATABASE_URL is no address of a database"),
        ("postgresql://ada:sec/secret@127.0.0.1:1/db", "SELECT 1", r"^the query: postgresql://127\S+:1/db says: "),
        ("sqlite:///{lite}", "-- nothing", "the query answers no rows; write a SELECT"),
        ("sqlite:///{lite}", "DROP TABLE loans", "attempt to write a readonly database"),
        ("sqlite:///{lite}", "CREATE TABLE others (nr)", "attempt to write a readonly database"),
        ("sqlite:///{lite}x", "SELECT 1", "lite.dbx: no such file"),
    ],
)
def test_what_a_database_refuses_is_said(
    loans: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, sql: str, message: str
) -> None:
    """What it said, and no password; and nothing is written."""
    lite = tmp_path / "lite.db"
    with closing(sqlite3.connect(lite)) as connection, connection:
        connection.execute("CREATE TABLE loans (nr)")
    before = lite.read_bytes()
    gone = loans.rpartition(":")[0] + f":{servers.free_port()}/postgres"
    monkeypatch.setenv(
        "DATABASE_URL", url.format(url=loans, lite=lite, wrong=loans.replace("secret", "secret2"), gone=gone)
    )
    with pytest.raises(DataError, match=message) as refused:
        read(data(sql=sql), 0.2)
    assert "secret" not in str(refused.value)
    assert [*tmp_path.glob("lite*")] == [lite]
    assert lite.read_bytes() == before


def test_a_server_that_dies_is_one_line(project: Path) -> None:
    """Exit code 3, the address without its password; half of a file is no data, and nothing is written."""
    with servers.web(project / "data", dies=True) as address:
        path = f"{address}/{Path(SETTINGS.data.path).name}"
        code, output = train(project, MLOPS_DATA__PATH=f"{path.replace('//', '//ada:secret@')}?key=secret")
    assert code == 3
    assert output.splitlines()[-1] == f"Cannot train: {path}: cannot be fetched: it broke off before its end"
    assert "secret" not in output
    assert not (project / "bundle").exists()


def test_an_object_that_changes_while_it_is_read(system: fs.FileSystem, project: Path) -> None:
    """Its version is another afterwards: nobody has had such data."""
    pq.write_table(table(project), "loans/changes.parquet", filesystem=system)

    def change(_: str) -> None:
        pq.write_table(table(project).slice(1), "loans/changes.parquet", filesystem=system)

    with pytest.raises(DataError, match="it has changed while it was read; run it again"):
        read(data(path="s3://loans/changes.parquet"), 0.2, say=change)
