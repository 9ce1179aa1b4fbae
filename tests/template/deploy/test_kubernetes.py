"""Versions on a real Kubernetes, under load: none may lose a request.

In this order each test finds what it begins with; alone, it deploys that first.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from release.deploy.record import read
from tests.engine.conftest import ROOT
from tests.engine.docker.containers import docker
from tests.template.deploy.conftest import NAME, Cluster, Project
from tests.template.deploy.traffic import FRESH, KEPT, traffic

pytestmark = pytest.mark.usefixtures("as_promoted")


def runs(project: Project, cluster: Cluster, version: str) -> None:
    """Makes sure that a version runs, on two pods."""
    found = cluster.kubectl("get", "deployment", "service", "--ignore-not-found", "--output=name")
    if not found or cluster.image() != project.images[version]:
        done = project.deploy(project.images[version], DEPLOY_URL=cluster.url)
        assert done.returncode == 0, done.stdout + done.stderr
    cluster.wait_for_pods(2)


def test_first_deployment(project: Project, cluster: Cluster) -> None:
    """It answers, hardened, with what was measured of it; MLflow knows where it runs."""
    done = project.deploy(project.images["1"], DEPLOY_URL=cluster.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Production runs nothing yet." in done.stdout
    assert "GET /model names version 1, 10 times in a row." in done.stdout
    assert "recorded requests get the bundle's own answers, to the last digit." in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Deployed: version 1 runs in production. p95 is")
    version, known = read(project.client(), NAME)["production"]
    assert (version, known.image, known.target, known.url) == ("1", project.images["1"], "kubernetes", cluster.url)
    assert known.verified >= known.since and 0 < known.p95_ms < 100
    cluster.wait_for_pods(2)
    (container,) = cluster.pods()[0]["spec"]["containers"]
    assert container["image"] == project.images["1"]
    assert container["resources"]["requests"] == {"cpu": "400m", "memory": "150M"}


def test_update_by_way_of_a_canary_loses_no_request(project: Project, cluster: Cluster) -> None:
    """One pod of the new version has its share of the traffic first."""
    runs(project, cluster, "1")
    with traffic(cluster.url, project.record) as seen:
        done = project.deploy("", "--canary", "0.2", DEPLOY_URL=cluster.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d{2,} requests of real traffic came before that, 0 failed\.", done.stdout), done.stdout
    assert cluster.kubectl("get", "deployments,services", "--output=name").split() == [
        "deployment.apps/service",
        "service/service",
    ]
    assert seen.nothing_lost, seen
    assert min(seen.answered[version] for version in "12") > 100


def test_earlier_version_by_digest(project: Project, cluster: Cluster) -> None:
    """A rollback is a deployment of an earlier image."""
    runs(project, cluster, "2")
    with traffic(cluster.url, project.record) as seen:
        done = project.deploy(project.images["1"], DEPLOY_URL=cluster.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen.nothing_lost, seen
    assert read(project.client(), NAME)["production"][0] == "1"


def test_slow_version_goes_back_by_itself(project: Project, cluster: Cluster) -> None:
    """What was promoted and is slower there than p95_ms: the version before runs again, and is verified too."""
    runs(project, cluster, "1")
    project.promote("2", project.images["slow"])
    with traffic(cluster.url, project.record) as seen:
        done = project.deploy(DEPLOY_URL=cluster.url)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "and p95_ms is 100. Version 1 runs again, and was verified." in done.stderr
    assert done.stderr.startswith("Not deployed: version 2, at http://127.0.0.1:30080: p95 is")
    assert seen.nothing_lost, seen
    assert cluster.image() == project.images["1"]
    assert read(project.client(), NAME)["production"][0] == "1"


def test_canary_is_taken_back(project: Project, cluster: Cluster) -> None:
    """One that is too slow: most of the traffic never met it."""
    runs(project, cluster, "1")
    project.promote("2", project.images["slow"])
    with traffic(cluster.url, project.record) as seen:
        done = project.deploy("", "--canary", "0.1", DEPLOY_URL=cluster.url)
        time.sleep(15)  # until it has left
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("Not deployed: version 2, as a canary, at http://127.0.0.1:")
    assert done.stderr.endswith("and p95_ms is 100. It was taken back; the rest never changed.\n")
    assert seen.nothing_lost, seen
    assert seen.answered["1"] > seen.answered["2"] > 0
    cluster.wait_for_pods(2)
    assert cluster.image() == project.images["1"]


OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"


def test_a_cluster_takes_all_that_may_be_applied(project: Project, cluster: Cluster, tmp_path: Path) -> None:
    """Each overlay, production with monitoring and staging with KServe too, by the API server itself."""
    runs(project, cluster, "1")
    found = subprocess.run(["go", "mod", "download", "-json", OPERATOR], capture_output=True, check=True)
    kinds = Path(json.loads(found.stdout)["Dir"]) / "example" / "prometheus-operator-crd"
    for kind in ("prometheusrules", "servicemonitors"):
        crd = kinds / f"monitoring.coreos.com_{kind}.yaml"
        cluster.kubectl("apply", "--server-side", f"--filename={crd}")
        cluster.kubectl("wait", "--for=condition=Established", f"--filename={crd}")
    shutil.copytree(ROOT / "deploy" / "kubernetes", tmp_path / "kubernetes")
    for name, base, components in (
        ("own", "production", ["monitoring"]),
        ("both", "staging", ["kserve", "monitoring"]),
    ):
        own = {"resources": [f"../{base}"], "components": [f"../components/{each}" for each in components]}
        (tmp_path / "kubernetes" / name).mkdir()
        (tmp_path / "kubernetes" / name / "kustomization.yaml").write_text(json.dumps(own))
    for name in ("staging", "production", "own", "both"):
        text = cluster.kubectl("kustomize", str(tmp_path / "kubernetes" / name))
        said = cluster.kubectl(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-", text=text
        )
        assert said.count("serverside-applied (server dry run)") == len(text.split("\n---\n"))


def test_version_that_never_gets_ready_leaves_the_old_one(project: Project, cluster: Cluster) -> None:
    runs(project, cluster, "1")
    project.promote("2", project.images["dead"])
    with traffic(cluster.url, project.record) as seen:
        done = project.deploy(DEPLOY_URL=cluster.url)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the new pods do not get ready" in done.stderr
    assert "/nowhere" in done.stderr  # the service's own last words
    assert seen.nothing_lost and set(seen.answered) == {"1"}
    cluster.wait_for_pods(2)
    assert cluster.image() == project.images["1"]


def test_scaled_out_and_in(project: Project, cluster: Cluster) -> None:
    runs(project, cluster, "1")
    with traffic(cluster.url, project.record) as seen:
        for count in (3, 1, 2):
            least = {"spec": {"minReplicas": count, "maxReplicas": count}}
            cluster.kubectl("patch", "hpa", "service", f"--patch={json.dumps(least)}")
            cluster.wait_for_pods(count)
            time.sleep(15)
    assert seen.nothing_lost, seen


def test_evicted_pod(project: Project, cluster: Cluster) -> None:
    """As when a node is drained."""
    runs(project, cluster, "1")
    pod = cluster.pods()[0]["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": cluster.namespace},
    }
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod}/eviction"
    with traffic(cluster.url, project.record) as seen:
        cluster.kubectl("create", f"--raw={path}", "--filename=-", text=json.dumps(eviction))
        time.sleep(5)
        cluster.wait_for_pods(2)
        time.sleep(15)
    assert seen.nothing_lost, seen
    assert pod not in {each["metadata"]["name"] for each in cluster.pods()}


def test_killed_pod(project: Project, cluster: Cluster) -> None:
    """Without a word, as for want of memory: it costs what was under way in it."""
    runs(project, cluster, "1")
    uid = cluster.pods()[0]["metadata"]["uid"]
    inside = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cgroup")
        if uid in path.read_text() and b"gunicorn" in (path.parent / "cmdline").read_bytes()
    ]
    with traffic(cluster.url, project.record) as seen:
        time.sleep(2)
        for pid in inside:
            os.kill(int(pid), signal.SIGKILL)
        time.sleep(10)
    assert len(inside) >= 2
    assert len(seen.lost) <= KEPT + FRESH, (
        seen
    )  # one of each connection, which was under way or sent before it was known
    assert seen.refused < 100  # in the second or two until the cluster knows: who connects again loses nothing


def test_load_from_inside(project: Project, cluster: Cluster, registry: str, tmp_path: Path) -> None:
    """Two workers and their master: p95 of each request of theirs, and a failed Job where that is above p95_ms."""
    runs(project, cluster, "1")
    folder = tmp_path / "load"
    shutil.copytree(ROOT / "deploy" / "kubernetes" / "load", folder)
    (named,) = set(re.findall(r"image: (\S+)", (folder / "load.yaml").read_text()))
    version = named.rpartition(":")[2]
    assert f"locust=={version} " in (ROOT / "requirements" / "perf.txt").read_text()
    image = f"{registry}/locust:{version}"
    (tmp_path / "Dockerfile").write_text(LOCUST)
    shutil.copy(ROOT / "requirements" / "perf.txt", tmp_path)
    docker("build", "--quiet", "--tag", image, str(tmp_path))
    docker("push", "--quiet", image)
    text = (folder / "load.yaml").read_text().replace(named, image).replace("run-time=60s", "run-time=10s")
    (folder / "load.yaml").write_text(text)
    settings = tmp_path / "pipeline.toml"
    for limit, end in (("1000.0", "complete"), ("0.01", "failed")):
        settings.write_text(f"[perf]\np95_ms = {limit}\n")
        files = [ROOT / "perf" / "locustfile.py", project.folder / "bundle" / "requests.jsonl", settings]
        for kind in ("job/load-master", "job/load-worker", "configmap/load"):
            cluster.kubectl("delete", kind, "--ignore-not-found")
        cluster.kubectl("create", "configmap", "load", *(f"--from-file={file}" for file in files))
        cluster.kubectl("apply", "--server-side", f"--kustomize={folder}")
        cluster.kubectl("wait", f"--for=condition={end}", "job/load-master", "--timeout=120s")
        said = cluster.kubectl("logs", "job/load-master")
        found = re.search(rf"p95 of ([\d,]+) requests is [\d.]+ ms, (within|above) p95_ms = {float(limit):g}", said)
        assert found, said
        assert int(found[1].replace(",", "")) > 500
    cluster.kubectl("delete", f"--kustomize={folder}")


LOCUST = """FROM python:3.13-slim
COPY perf.txt /
RUN python -m venv --without-pip /venv && \\
    pip --python /venv/bin/python install --quiet --no-cache-dir --require-hashes -r /perf.txt
ENTRYPOINT ["/venv/bin/locust"]
"""
