"""Versions as an InferenceService, by KServe's own controller, under load: none may lose a request."""

import json
import time
from collections.abc import Iterator

import pytest
import requests

from release.deploy.record import read
from tests.template.deploy.conftest import NAME, Cluster, Project, missing
from tests.template.deploy.traffic import traffic

pytestmark = pytest.mark.usefixtures("as_promoted")
ENVIRONMENT = ("--environment", "inference")


@pytest.fixture(name="kserve", scope="module")
def _kserve(kubernetes: None, project: Project) -> Iterator[Cluster]:
    """The namespace of an environment with the component, in which the first version runs."""
    there = Cluster(f"{NAME}-inference", "")
    if not there.kubectl("get", "crd", "inferenceservices.serving.kserve.io", "--ignore-not-found", "--output=name"):
        missing("KServe in that cluster")
    folder = project.folder / "deploy" / "kubernetes" / "inference"
    folder.mkdir()
    scale = [{"op": "replace", "path": f"/spec/predictor/{end}Replicas", "value": 2} for end in ("min", "max")]
    patches = [{"target": {"kind": "InferenceService"}, "patch": json.dumps(scale)}]
    own = {"resources": ["../base"], "components": ["../components/kserve"], "patches": patches}
    (folder / "kustomization.yaml").write_text(json.dumps(own))
    try:
        done = project.deploy(project.images["1"], *ENVIRONMENT)
        assert done.returncode == 0, done.stdout + done.stderr
        address = there.kubectl("get", "service", "service-predictor", "--output=jsonpath={.spec.clusterIP}")
        there.wait_for_pods(2)
        yield Cluster(there.namespace, f"http://{address}")
    finally:
        there.kubectl("delete", "namespace", there.namespace, "--ignore-not-found", "--wait=false")


def test_an_inference_service_answers(project: Project, kserve: Cluster) -> None:
    """It is ready, hardened as ever, and speaks the protocol that it names."""
    kserve.kubectl("wait", "--for=condition=Ready", "inferenceservice/service", "--timeout=60s")
    version, known = read(project.client(), NAME)["inference"]
    assert (version, known.image) == ("1", project.images["1"])
    (container,) = kserve.pods()[0]["spec"]["containers"]
    assert container["image"] == project.images["1"]
    assert container["resources"]["requests"] == {"cpu": "400m", "memory": "150M"}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    row = json.loads(project.record)
    inputs = [
        {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(each, str) else "FP64", "data": [each]}
        for name, each in row.items()
    ]
    reply = requests.post(f"{kserve.url}/v2/models/{NAME}/infer", json={"inputs": inputs}, timeout=10)
    assert reply.json()["outputs"][0]["shape"] == [1]


def test_update_by_way_of_a_canary(project: Project, kserve: Cluster) -> None:
    with traffic(kserve.url, project.record) as seen:
        done = project.deploy("", *ENVIRONMENT, "--canary", "0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen.nothing_lost, seen
    assert min(seen.answered[version] for version in "12") > 50
    assert kserve.kubectl("get", "deployments", "--output=name").split() == ["deployment.apps/service-predictor"]


def test_canary_is_taken_back(project: Project, kserve: Cluster) -> None:
    """One that is too slow; before it, an earlier version comes back by its digest."""
    assert project.deploy(project.images["1"], *ENVIRONMENT).returncode == 0
    project.promote("2", project.images["slow"])
    with traffic(kserve.url, project.record) as seen:
        done = project.deploy("", *ENVIRONMENT, "--canary", "0.1")
        time.sleep(15)  # until it has left
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.endswith("and p95_ms is 100. It was taken back; the rest never changed.\n")
    assert seen.nothing_lost, seen
    assert seen.answered["1"] > seen.answered["2"] > 0
    assert kserve.image("service-predictor") == project.images["1"]
