"""A project with versions in a registry, and a Kubernetes that runs them."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient

from release.deploy.kubernetes import LABELLED
from tests.engine.conftest import ROOT, copy_project, run
from tests.engine.docker.containers import BUILT_FROM, docker

NAME = "deploy-test"
NODE_PORT = 30080


@dataclass(frozen=True)
class Project:
    """A trained project whose versions are in a registry."""

    folder: Path
    images: dict[str, str]  # by version, and by what is wrong with it
    record: bytes

    def deploy(self, image: str = "", *options: str, **more: str) -> subprocess.CompletedProcess[str]:
        """To production; no image: the champion."""
        digest = ["--digest", image.partition("@")[2]] if image else []
        return run(self.folder, "release.deploy", "--target", "kubernetes", *digest, *options, timeout=600, **more)

    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")

    def promote(self, version: str, image: str) -> None:
        """Notes an image as that of a version, as a promotion does."""
        self.client().set_model_version_tag(NAME, version, "image", image)


@pytest.fixture
def as_promoted(project: Project) -> None:
    """Whatever the test before has promoted as version 2."""
    project.promote("2", project.images["2"])


@pytest.fixture(name="registry", scope="session")
def _registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry on a free port of 127.0.0.1."""
    if shutil.which("docker-registry") is None:
        missing("docker-registry: apt install docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(folder)}, "delete": {"enabled": True}}
    (folder / "config.yml").write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
    until = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait()


def missing(what: str) -> None:
    """Fails under CI, and skips on a laptop."""
    if os.environ.get("CI"):
        pytest.fail(f"These tests need {what}")
    pytest.skip(f"needs {what}")


@pytest.fixture(name="project", scope="session")
def _project(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two versions that were promoted, the second is the champion, and images of it that are not as they should be."""
    folder = copy_project(tmp_path_factory.mktemp("project") / "project")
    settings = folder / "pipeline.toml"
    settings.write_text(settings.read_text().replace('name = "loan-default"', f'name = "{NAME}"'))
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    own = folder / "deploy" / "kubernetes" / "production" / "kustomization.yaml"
    patch: list[dict[str, object]] = [{"op": "replace", "path": "/spec/type", "value": "NodePort"}]
    patch += [{"op": "add", "path": "/spec/ports/0/nodePort", "value": NODE_PORT}]
    scale = [{"op": "replace", "path": f"/spec/{end}Replicas", "value": 2} for end in ("min", "max")]
    patches = [{"target": {"kind": "Service"}, "patch": json.dumps(patch)}]
    patches += [{"target": {"kind": "HorizontalPodAutoscaler"}, "patch": json.dumps(scale)}]
    deadline = [{"op": "replace", "path": "/spec/progressDeadlineSeconds", "value": 30}]
    patches += [{"target": {"kind": "Deployment"}, "patch": json.dumps(deadline)}]
    own.write_text(json.dumps({"resources": ["../base"], "patches": patches}))
    images = {}
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    estimator = folder / "src" / "model" / "estimator.py"
    for number, trees in enumerate((200, 190), 1):
        estimator.write_text(estimator.read_text().replace("max_iter=200", f"max_iter={trees}"))
        done = run(folder, "training.train")
        assert done.returncode == 0, done.stdout + done.stderr
        images[str(number)] = push(folder, registry)
        client.set_model_version_tag(NAME, str(number), "image", images[str(number)])
        client.set_registered_model_alias(NAME, "champion", str(number))
        run_id = client.get_model_version(NAME, str(number)).run_id
        for key, value in MEASURED.items():
            client.log_metric(run_id, f"perf.{key}", value)
    for name, line in WRONG.items():
        images[name] = derive(images["2"], line, f"{registry}/{NAME}:{name}")
    return Project(folder, images, (folder / "bundle" / "requests.jsonl").read_bytes().splitlines()[0])


MEASURED = {"workers": 1.0, "cpu_ms": 2.0, "throughput": 200.0, "memory_mb": 118.0}  # as a promotion logs it
WRONG = {  # images that were built, and are not what they should be
    "slow": "ENV MLOPS_FAULT_LOCK_MS=100",
    "dead": "ENV BUNDLE=/nowhere",
}


def push(folder: Path, registry: str) -> str:
    done = run(folder, "release.image", "--push", f"{registry}/{NAME}", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads((folder / ".mlops" / "image.json").read_text())["image"])


def derive(image: str, line: str, name: str) -> str:
    """An image that differs from another in one line of its Dockerfile; its reference by digest."""
    done = subprocess.run(
        ["docker", "buildx", "build", "--quiet", "--push", f"--tag={name}", "-"],
        input=f"FROM {image}\n{line}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    digest = json.loads(docker("buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", name))["digest"]
    return f"{name.rpartition(':')[0]}@{digest}"


@dataclass(frozen=True)
class Cluster:
    """A namespace of the cluster of the current context."""

    namespace: str
    url: str

    def kubectl(self, *arguments: str, text: str = "") -> str:
        done = subprocess.run(
            ["kubectl", f"--namespace={self.namespace}", *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pods(self) -> list[dict[str, Any]]:
        """Those that are ready and are not about to end."""
        listed = json.loads(self.kubectl("get", "pods", LABELLED, "--output=json"))["items"]
        return [each for each in listed if ready(each) and "deletionTimestamp" not in each["metadata"]]

    def image(self, deployment: str = "service") -> str:
        return self.kubectl(
            "get", "deployment", deployment, "--output=jsonpath={.spec.template.spec.containers[0].image}"
        )

    def wait_for_pods(self, count: int, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while len(self.pods()) != count:
            assert time.monotonic() < until, self.kubectl("get", "pods,events")
            time.sleep(0.5)


def ready(pod: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


@pytest.fixture(name="kubernetes", scope="session")
def _kubernetes() -> None:
    """One that is nobody's own, on this machine."""
    server = ["kubectl", "config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"]
    try:
        address = subprocess.run(server, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        address = ""
    if urlsplit(address).hostname not in ("127.0.0.1", "localhost"):
        missing("a Kubernetes that kubectl reaches, which pulls images from a registry on 127.0.0.1")


@pytest.fixture(name="cluster", scope="session")
def _cluster(kubernetes: None) -> Iterator[Cluster]:
    """The namespace to which production is deployed; it is gone after the tests."""
    cluster = Cluster(f"{NAME}-production", f"http://127.0.0.1:{NODE_PORT}")
    yield cluster
    cluster.kubectl("delete", "namespace", cluster.namespace, "--ignore-not-found", "--wait=false")
