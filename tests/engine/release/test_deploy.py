"""What a deployment asks of its target. That it runs there: tests/template/deploy."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from release.deploy.__main__ import wanted
from release.deploy.host import Host
from release.deploy.kubernetes import Kubernetes, canary_of, complaint, placed, running_of
from release.deploy.plan import environments
from release.deploy.record import Deployed, read, write
from release.deploy.target import Needs, Running, TargetError, needs_of
from release.production import Refused
from tests.engine.conftest import ROOT

IMAGE = "ghcr.io/owner/loans@sha256:" + "0123456789abcdef" * 4


def test_a_copy_asks_for_what_was_measured() -> None:
    measured = {"perf.workers": 2.0, "perf.cpu_ms": 4.0, "perf.throughput": 150.0, "perf.memory_mb": 203.0}
    assert needs_of(measured) == Needs(workers=2, cpu=0.6, memory_mb=260)


def test_a_copy_asks_for_no_more_workers_than_it_runs() -> None:
    """A machine that measures may have many CPUs; and little CPU is no reason to scale."""
    assert needs_of({"perf.workers": 32.0, "perf.cpu_ms": 0.1, "perf.throughput": 100.0}) == Needs()


def test_what_was_not_measured_has_a_default() -> None:
    assert needs_of({}) == Needs()


def documents() -> list[dict[str, Any]]:
    """The base, as Kustomize reads it."""
    folder = ROOT / "deploy" / "kubernetes" / "base"
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [each for name in names for each in yaml.safe_load_all((folder / name).read_text())]


def test_manifests_get_image_and_needs() -> None:
    """And what a Deployment says is read back, so that it can be put there again."""
    wanted = Running(IMAGE, Needs(2, 0.6, 260))
    done = {each["kind"]: each for each in placed(documents(), wanted)}
    (container,) = done["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    assert container["resources"]["requests"] == {"cpu": "600m", "memory": "260M"}
    assert running_of(done["Deployment"]) == wanted


def test_memory_is_read_as_the_cluster_writes_it() -> None:
    """Of 2000M it makes 2G."""
    wanted = Running(IMAGE, Needs(2, 0.6, 2000))
    (deployment, *_) = placed(documents(), wanted)
    deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"] = "2G"
    assert running_of(deployment) == wanted


def test_manifests_keep_what_the_user_has_added() -> None:
    """Variables and further containers of an overlay."""
    (deployment, *_) = documents()
    pod = deployment["spec"]["template"]["spec"]
    pod["containers"][0]["env"].append({"name": "OTEL_SDK_DISABLED", "value": "true"})
    pod["containers"].append({"name": "sidecar", "image": "sidecar:1"})
    (done,) = placed([deployment], Running(IMAGE, Needs()))
    service, sidecar = done["spec"]["template"]["spec"]["containers"]
    assert {"name": "OTEL_SDK_DISABLED", "value": "true"} in service["env"]
    assert sidecar == {"name": "sidecar", "image": "sidecar:1"}


def test_a_canary_is_a_pod_like_the_others() -> None:
    """The Service that all ask takes it for one of them; the Deployment, which counts its own, does not."""
    deployment, service = canary_of(placed(documents(), Running(IMAGE, Needs()))[0])
    usual, whole, *_ = documents()
    assert (deployment["metadata"]["name"], deployment["spec"]["replicas"]) == ("canary", 1)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert whole["spec"]["selector"].items() <= labels.items()
    assert not usual["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()


def test_a_deployment_that_somebody_edited_can_still_be_read() -> None:
    (deployment, *_) = documents()
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container |= {"env": [], "resources": {}}
    assert running_of(deployment) == Running("service", Needs())
    container["resources"] = {"requests": {"cpu": "1", "memory": "1Gi"}}
    assert running_of(deployment).image == "service"


NOWHERE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}


def container(state: dict[str, Any], ready: bool = False) -> dict[str, Any]:
    return {"containerStatuses": [{"ready": ready, "state": state}]}


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (container({"waiting": {"reason": "ImagePullBackOff", "message": "gone"}}), "ImagePullBackOff: gone"),
        (container({"running": {}}), "it runs, but /readyz does not answer 200"),
        (container({"running": {}}, ready=True), ""),
        ({"conditions": [NOWHERE]}, "Unschedulable: 0/3 nodes"),
    ],
)  # fmt: skip
def test_why_a_pod_is_not_ready(status: dict[str, Any], says: str) -> None:
    assert complaint({"status": status}) == says


def test_an_environment_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("base", "staging", "production"):
        (tmp_path / "deploy" / "kubernetes" / name).mkdir(parents=True)
        (tmp_path / "deploy" / "kubernetes" / name / "kustomization.yaml").touch()
    with pytest.raises(TargetError, match=r"there is no .*/prod; environments: production, staging$"):
        Kubernetes("loans", "prod", tmp_path, {})


@pytest.mark.parametrize("given", ["", "machine", "tcp://machine"])
def test_a_machine_is_reached_by_ssh(given: str) -> None:
    with pytest.raises(TargetError, match="DEPLOY_HOST=ssh://user@machine"):
        Host("loans", "production", ROOT, {"DEPLOY_HOST": given})


@pytest.mark.parametrize(
    ("there", "running", "expected"),
    [
        (set(), {}, ["production"]),
        ({"staging", "template-update"}, {}, ["staging", "production"]),
        ({"staging"}, {"staging": IMAGE}, ["production"]),
        ({"staging"}, {"staging": IMAGE, "production": IMAGE}, []),
    ],
)
def test_staging_comes_first_where_it_exists(there: set[str], running: dict[str, str], expected: list[str]) -> None:
    """What runs the image already is left alone."""
    assert environments(there, running, IMAGE) == expected


@pytest.fixture(name="client")
def _client(tmp_path: Path) -> MlflowClient:
    """Two versions: the first was promoted with an image in a registry; the champion is on this machine alone."""
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.create_registered_model("loans")
    for image in (IMAGE, "loans:2"):
        version = client.create_model_version("loans", source=str(tmp_path), tags={"image": image})
        client.set_registered_model_alias("loans", "champion", version.version)
    return client


def test_a_digest_names_a_version_that_was_promoted(client: MlflowClient) -> None:
    for digest in (IMAGE.partition("@")[2], "sha256:0123456789ab", "0123456789ab"):
        assert wanted(client, "loans", digest).version == 1


@pytest.mark.parametrize(
    ("digest", "says"),
    [
        ("", "is in no registry"),
        ("sha256:fedcba987654", r"MLflow knows 1 \(sha256:0123456789ab\)"),
        ("sha256:0123", "no digest: sha256: and at least 12"),
        ("latest", "no digest"),
    ],
)
def test_what_cannot_be_deployed_is_said(client: MlflowClient, digest: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        wanted(client, "loans", digest)


def test_one_version_runs_in_an_environment(client: MlflowClient) -> None:
    known = Deployed(IMAGE, "kubernetes", "2026-01-01T00:00:00+00:00", "2026-01-01T00:01:00+00:00", 3.2)
    first, second = (client.get_model_version("loans", number) for number in "12")
    write(client, first, "staging", known)
    write(client, first, "production", known)
    write(client, second, "production", known)
    assert {key: version for key, (version, _) in read(client, "loans").items()} == {"staging": "1", "production": "2"}
