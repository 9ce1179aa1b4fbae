"""MLflow's server with PostgreSQL and a store of objects: what is in it survives a backup, a move and a death."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from msgspec.structs import replace

from perf.arms.processes import code_digest
from perf.files import write_verdict
from perf.verdict import Report
from tests.conftest import environment
from tests.engine.conftest import ROOT, copy_project, run
from tests.engine.docker.containers import BUILT_FROM, docker
from tests.engine.perf.examples import report_of, rounds_of
from tests.template.deploy.conftest import missing
from tests.template.deploy.machine import free_port
from tests.template.deploy.standin import images, installed, remove
from training import registry

COMPOSE = "mlflow-test"  # the name of it all
NAME = "loan-default"
PROGRAMS = ["caddy", "postgres", "versitygw"]
OLD = "3.4.0"  # of MLflow: its database has another layout


@dataclass(frozen=True)
class Server:
    """deploy/mlflow of a project."""

    folder: Path  # of the project
    shell: dict[str, str]
    url: str

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As a shell does in the project's folder."""
        command = ["make", "-C", "deploy/mlflow", *arguments]
        shell = {**self.shell, "PWD": str(self.folder)}
        return subprocess.run(
            command, cwd=self.folder, env=shell, capture_output=True, text=True, timeout=300, check=False
        )

    def up(self) -> None:
        done = self.make("up")
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def login(self) -> dict[str, str]:
        """What a client needs."""
        (password,) = re.findall("ADMIN_PASSWORD=(.*)", (self.folder / "deploy" / "mlflow" / ".env").read_text())
        names = {"USERNAME": "admin", "PASSWORD": password, "URI": self.url}
        return {f"MLFLOW_TRACKING_{key}": value for key, value in names.items()}

    def container(self, service: str) -> str:
        return f"{COMPOSE}-{service}-1"


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It runs, and is empty."""
    needed = "caddy, busybox, PostgreSQL and versitygw: apt install caddy busybox-static postgresql, and make versitygw"
    if not all(map(installed, PROGRAMS)):
        missing(needed)
    folder = copy_project(tmp_path_factory.mktemp("mlflow") / "project")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns(".env"))
    compose = folder / "deploy" / "mlflow" / "compose.yml"
    compose.write_text(compose.read_text().replace("image: ", "image: standin/"))
    port = free_port()
    shell = {**os.environ, "COMPOSE_PROJECT_NAME": COMPOSE, "PORT": str(port)}
    remove(COMPOSE)  # of a run that was killed
    scratch = tmp_path_factory.mktemp("images")
    with images(scratch, compose, PROGRAMS):
        server = Server(folder, shell, f"http://127.0.0.1:{port}")
        try:
            server.up()
            yield server
        finally:
            remove(COMPOSE)
            docker("rmi", "--force", f"{COMPOSE}-mlflow")


@pytest.fixture(autouse=True, scope="module")
def login(server: Server) -> Iterator[None]:
    """This process, too, is a client."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in server.login.items():
            patch.setenv(key, value)
        yield


def train(server: Server, trees: int, **more: str) -> subprocess.CompletedProcess[str]:
    """A version of so many trees."""
    estimator = server.folder / "src" / "model" / "estimator.py"
    estimator.write_text(re.sub(r"max_iter=\d+", f"max_iter={trees}", estimator.read_text()))
    return run(server.folder, "training.train", timeout=300, **{**server.login, **more})


def held(uri: str) -> dict[str, Any]:
    """All that a store knows of the project, artifacts and all; without the numbers of experiments."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(NAME)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    versions = {str(each.version): dict(each) for each in client.search_model_versions(f"name='{NAME}'")}
    model = client.get_registered_model(NAME)
    artifacts = {each.info.run_id: f"runs:/{each.info.run_id}/" for each in runs}
    artifacts |= {f"version {version}": f"models:/{NAME}/{version}" for version in versions}
    files = {}
    for key, place in artifacts.items():
        with tempfile.TemporaryDirectory() as scratch:
            mlflow.artifacts.download_artifacts(place, dst_path=scratch)
            names = sorted(file for file in Path(scratch).rglob("*") if file.is_file())
            content = b"".join(str(file.relative_to(scratch)).encode() + file.read_bytes() for file in names)
            files[key] = len(names), hashlib.sha256(content).hexdigest()
    known = {}
    for each in runs:
        history = {key: client.get_metric_history(each.info.run_id, key) for key in each.data.metrics}
        known[each.info.run_id] = {
            "about": (each.info.start_time, each.info.status, each.data.params, each.data.tags),
            "metrics": {key: [(m.value, m.timestamp, m.step) for m in values] for key, values in history.items()},
            "inputs": [(of.dataset.name, of.dataset.digest) for of in each.inputs.dataset_inputs],
        }
    same = ("creation_timestamp", "run_id", "tags", "description", "status")
    return {
        "runs": known,
        "versions": {version: {name: of[name] for name in same} for version, of in versions.items()},
        "model": ({alias: str(version) for alias, version in model.aliases.items()}, dict(model.tags)),
        "files": files,
    }


def marks(server: Server) -> tuple[str, str]:
    """What changes when the server is restored: when its database was made, and its files."""
    database = ["psql", "--username=mlflow", "--tuples-only", "-c"]
    made = docker(
        "exec", server.container("database"), *database, "SELECT oid FROM pg_database WHERE datname = 'mlflow'"
    )
    files = docker(
        "exec", server.container("objects"), "sh", "-c", "ls -i /data; find /data -type f | sort | xargs md5sum"
    )
    return made, files


@pytest.fixture(name="filled", scope="module")
def _filled(server: Server, login: None) -> dict[str, Any]:
    """Two versions were trained into it; what it holds."""
    for trees in (20, 21):
        done = train(server, trees)
        assert done.returncode == 0, done.stdout + done.stderr
    client = MlflowClient(server.url)
    client.set_registered_model_alias(NAME, "champion", "1")
    client.set_model_version_tag(NAME, "1", "image", "registry.example.org/a@sha256:0")
    return held(server.url)


def test_nobody_enters_without_a_password(server: Server) -> None:
    wrong = ("admin", "wrong")
    for path in ("api/2.0/mlflow/experiments/get-by-name?experiment_name=Default", ""):
        assert requests.get(f"{server.url}/{path}", timeout=10).status_code == 401
        assert requests.get(f"{server.url}/{path}", auth=wrong, timeout=10).status_code == 401
    ports = {service: docker("port", server.container(service)) for service in ("database", "objects", "mlflow")}
    assert not any(ports.values()), ports


def test_backup_brings_back_all_of_it(server: Server, filled: dict[str, Any]) -> None:
    """After all is wiped: each version, alias, tag, metric and artifact, to the byte."""
    done = server.make("backup", "TO=backups/today")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = server.folder / "backups" / "today"
    assert sorted(path.name for path in kept.iterdir()) == ["database.dump", "objects.tar"]
    remove(COMPOSE)
    server.up()
    client = MlflowClient(server.url)
    assert client.get_experiment_by_name(NAME) is None
    done = server.make("restore", "FROM=backups/today")
    assert done.returncode == 0, done.stdout + done.stderr
    assert held(server.url) == filled
    done = train(server, 22)  # it goes on
    assert "version 3, alias candidate" in done.stdout, done.stdout + done.stderr


def test_users_by_https(server: Server, filled: dict[str, Any], tmp_path: Path) -> None:
    """A user who is not admin makes versions of their own, reads those of others, and changes none of them."""
    before = held(server.url)
    ports = {f"{kind}_PORT": str(free_port()) for kind in ("HTTP", "HTTPS")}
    shell = {**server.shell, **ports, "COMPOSE_PROFILES": "https", "ADDRESS": "localhost"}
    public = dataclasses.replace(server, shell=shell, url=f"https://localhost:{ports['HTTPS_PORT']}")
    public.up()
    docker("cp", f"{server.container('https')}:/data/caddy/pki/authorities/local/root.crt", str(tmp_path / "ca.crt"))
    trusted = {"REQUESTS_CA_BUNDLE": str(tmp_path / "ca.crt")}
    login = (server.login["MLFLOW_TRACKING_USERNAME"], server.login["MLFLOW_TRACKING_PASSWORD"])
    for user in ("ana", "ben"):
        made = requests.post(
            f"{public.url}/api/2.0/mlflow/users/create",
            json={"username": user, "password": f"password of {user}"},
            auth=login,
            verify=trusted["REQUESTS_CA_BUNDLE"],
            timeout=30,
        )
        assert made.ok, made.text
    for user, project, refused in (("ana", "ana-loans", False), ("ben", "ana-loans", True), ("ana", NAME, True)):
        names = {"USERNAME": user, "PASSWORD": f"password of {user}"}
        known = {f"MLFLOW_TRACKING_{key}": value for key, value in names.items()} | trusted
        done = train(public, 60, MLOPS_PROJECT__NAME=project, **known)
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == refused, said
        assert (f"{user} may not change what others have made" in said) == refused, said
    assert held(server.url) == before


@pytest.mark.parametrize("broken", ["database.dump", "objects.tar"])
def test_broken_backup_changes_nothing(server: Server, filled: dict[str, Any], tmp_path: Path, broken: str) -> None:
    done = server.make("backup", f"TO={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    before = marks(server)
    content = (tmp_path / broken).read_bytes()
    (tmp_path / broken).write_bytes(content[: len(content) // 2])
    assert server.make("restore", f"FROM={tmp_path}").returncode != 0
    assert marks(server) == before


def test_half_a_backup_is_none(server: Server, tmp_path: Path) -> None:
    """Where the store of objects is away, no file says that it was backed up."""
    docker("pause", server.container("objects"))
    try:
        done = server.make("backup", f"TO={tmp_path}")
    finally:
        docker("unpause", server.container("objects"))
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []
    assert server.make("restore", f"FROM={tmp_path}").returncode == 2
    assert "Say where to: make -C deploy/mlflow backup" in server.make("backup").stderr
    (tmp_path / "objects.tar").touch()
    assert f"{tmp_path} holds a backup already" in server.make("backup", f"TO={tmp_path}").stderr


@pytest.mark.parametrize("service", ["mlflow", "database", "objects"])
def test_killed_container(server: Server, filled: dict[str, Any], service: str) -> None:
    """In the middle of a training. It comes back by itself; the training ends well, or says that it could not."""
    client = MlflowClient(server.url)
    trees = 30 + ["mlflow", "database", "objects"].index(service)
    before = {each.version for each in client.search_model_versions(f"name='{NAME}'")}
    estimator = server.folder / "src" / "model" / "estimator.py"
    estimator.write_text(re.sub(r"max_iter=\d+", f"max_iter={trees}", estimator.read_text()))
    training = subprocess.Popen(
        [sys.executable, "-u", "-m", "training.train"],
        cwd=server.folder,
        env=environment(server.folder, **server.login),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert training.stdout is not None
    said = ""
    for line in training.stdout:
        said += line
        if "convert to ONNX" in line:  # what comes next is registered
            break
    time.sleep(0.3)
    os.kill(int(docker("inspect", "--format", "{{.State.Pid}}", server.container(service))), signal.SIGKILL)
    rest, _ = training.communicate(timeout=300)
    said += rest
    assert training.returncode in (0, 3), said
    server_is_back(server)
    after = {each.version for each in client.search_model_versions(f"name='{NAME}'")}
    if training.returncode:
        assert "Cannot train: MLflow at" in said, said
        done = train(server, trees)
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        assert len(after - before) == 1, said
    candidate = client.get_model_version_by_alias(NAME, "candidate").version
    mlflow.sklearn.load_model(f"models:/{NAME}/{candidate}")
    assert f"version {candidate}" in (said if training.returncode == 0 else done.stdout)
    assert client.get_model_version_by_alias(NAME, "champion").version == "1"


def server_is_back(server: Server) -> None:
    until = time.monotonic() + 90
    while requests.get(f"{server.url}/health", timeout=10).status_code != 200:
        assert time.monotonic() < until
        time.sleep(1)
    MlflowClient(server.url).get_experiment_by_name(NAME)  # with retries of its own


def test_two_trainings_and_a_promotion_at_once(server: Server, filled: dict[str, Any], tmp_path: Path) -> None:
    """Each training has a version of its own, and the champion is the one that was judged. It boots."""
    client = MlflowClient(server.url)
    done = train(server, 40)
    assert done.returncode == 0, done.stdout + done.stderr
    judged = client.get_model_version_by_alias(NAME, "candidate")
    write_verdict(
        server.folder / "reports" / "verdict.json", verdict_on(server.folder, judged.version, champion(client))
    )
    copies = [tmp_path / str(trees) for trees in (41, 42)]
    for copy in copies:
        ignored = shutil.ignore_patterns("bundle", "reports", "deploy")
        shutil.copytree(server.folder, copy, ignore=ignored)
        estimator = copy / "src" / "model" / "estimator.py"
        estimator.write_text(re.sub(r"max_iter=\d+", f"max_iter={copy.name}", estimator.read_text()))
    with ThreadPoolExecutor() as pool:
        trainings = [pool.submit(run, copy, "training.train", timeout=300, **server.login) for copy in copies]
        promotion = pool.submit(run, server.folder, "release.promote", timeout=300, **server.login)
    for each in (*trainings, promotion):
        assert each.result().returncode == 0, each.result().stdout + each.result().stderr
    numbers = {re.findall(r"version (\d+), alias candidate", each.result().stdout)[0] for each in trainings}
    assert len(numbers) == 2
    assert champion(client).version == judged.version
    assert client.get_model_version_by_alias(NAME, "candidate").version in numbers
    folder = registry.download_snapshot(champion(client), str(tmp_path))
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--config", "serving/gunicorn.conf.py"]
    paths = {"PYTHONPATH": f"{folder}:{folder}/src", "PORT": str(port), "WEB_CONCURRENCY": "1"}
    with subprocess.Popen(command, cwd=folder, env=environment(Path(folder), **paths), stdout=subprocess.DEVNULL) as it:
        try:
            until = time.monotonic() + 60
            while not answers(port):
                assert time.monotonic() < until
                time.sleep(0.2)
            card = requests.get(f"http://127.0.0.1:{port}/model", timeout=10).json()
        finally:
            it.terminate()
    assert str(card["version"]) == str(judged.version)


def champion(client: MlflowClient) -> ModelVersion:
    return client.get_model_version_by_alias(NAME, "champion")


def verdict_on(folder: Path, version: str, baseline: ModelVersion) -> Report:
    """A pass of what the folder's bundle holds, beside a champion."""
    report = report_of(rounds_of([3.0] * 5, [3.0] * 5))
    bundle = json.loads((folder / "bundle" / "card.json").read_text())["bundle_sha256"]
    assert report.baseline is not None
    beside = replace(
        report.baseline, name=NAME, version=str(baseline.version), bundle_sha256=baseline.tags["bundle_sha256"]
    )
    ours = {"name": NAME, "version": str(version), "bundle_sha256": bundle, "code_sha256": code_digest(folder)}
    candidate = replace(report.candidate, **ours)
    return replace(report, candidate=candidate, baseline=beside)


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code == 200
    except requests.RequestException:
        return False


def test_store_of_files_moves_in(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Runs, versions, aliases, tags and artifacts stay as they were. Not twice, and not over another project."""
    home = tmp_path_factory.mktemp("files") / "project"
    shutil.copytree(server.folder, home, ignore=shutil.ignore_patterns("bundle", "reports", "mlruns"))
    here = dataclasses.replace(server, folder=home)
    ours = {"MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}"}
    for trees in (50, 51):
        done = train(here, trees, **ours)
        assert done.returncode == 0, done.stdout + done.stderr
    local = MlflowClient(ours["MLFLOW_TRACKING_URI"])
    local.set_registered_model_alias(NAME, "champion", "1")
    local.set_model_version_tag(NAME, "1", "image", "registry.example.org/a@sha256:0")
    local.set_registered_model_tag(NAME, "team", "risk")
    before = held(ours["MLFLOW_TRACKING_URI"])
    done = run(home, "release.migrate", timeout=300, **server.shell)
    assert done.returncode == 1
    assert f"Not taken: the server has an experiment of that name already: {NAME}" in done.stderr
    remove(COMPOSE)
    server.up()
    for each in ("another", NAME):  # as `make data` makes one; the numbers are other ones than here
        MlflowClient(server.url).create_experiment(each)
    done = run(home, "release.migrate", timeout=300, **server.shell)
    assert done.returncode == 0, done.stdout + done.stderr
    assert held(server.url) == before
    done = train(here, 52)
    assert "Registered loan-default version 3" in done.stdout, done.stdout + done.stderr
    mlflow.sklearn.load_model(f"models:/{NAME}@champion")


def test_database_of_an_older_mlflow_is_upgraded(server: Server, tmp_path: Path) -> None:
    """It is backed up before, and what was in it is there afterwards."""
    remove(COMPOSE)
    command = ["docker", "compose", "up", "--detach", "--wait", "database", "objects"]
    assert (
        subprocess.run(command, cwd=server.folder / "deploy" / "mlflow", env=server.shell, check=False).returncode == 0
    )
    python = tmp_path / "old" / "bin" / "python"
    uv: list[str | Path] = ["sh", ROOT / "requirements" / "tool.sh", "uv"]
    needed = [f"mlflow-skinny=={OLD}", "sqlalchemy<2.1", "alembic", "pandas", "psycopg2-binary"]
    for arguments in (
        ["venv", "--quiet", tmp_path / "old"],
        ["pip", "install", "--quiet", f"--python={python}", *needed],
    ):
        subprocess.run([*uv, *arguments], env={**os.environ, "VENV": sys.prefix}, check=True)
    address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    host = docker("inspect", "--format", address, server.container("database"))
    (password,) = re.findall("DATABASE_PASSWORD=(.*)", (server.folder / "deploy" / "mlflow" / ".env").read_text())
    uri = f"postgresql+psycopg2://mlflow:{password}@{host}/mlflow"
    done = subprocess.run([python, "-c", OLD_CLIENT, uri], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = server.make("upgrade", f"TO={tmp_path / 'backup'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "backup" / "database.dump").stat().st_size > 10_000
    client = MlflowClient(server.url)
    version = client.get_model_version_by_alias("old", "champion")
    assert (version.version, version.tags) == ("1", {"made": "before"})
    assert client.get_run(version.run_id).data.metrics == {"r2": 0.5}


OLD_CLIENT = """
import sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
run = client.create_run(client.create_experiment("old")).info.run_id
client.log_metric(run, "r2", 0.5)
client.create_registered_model("old")
client.create_model_version("old", "mlflow-artifacts:/1/model", run, tags={"made": "before"})
client.set_registered_model_alias("old", "champion", "1")
"""
