"""Versions on one machine, reached by SSH, behind a proxy, under load: none may lose a request."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from release.deploy.record import read
from tests.engine.conftest import ROOT, run
from tests.engine.docker.containers import docker
from tests.template.deploy.conftest import NAME, Project, missing
from tests.template.deploy.machine import Machine, lacks, serving_machine
from tests.template.deploy.traffic import traffic

pytestmark = pytest.mark.usefixtures("as_promoted")

COPIES = [f"{NAME}-production-{copy}-1" for copy in ("one", "two")]


def deploy(project: Project, machine: Machine, image: str = "") -> subprocess.CompletedProcess[str]:
    digest = ["--digest", image.partition("@")[2]] if image else []
    return run(project.folder, "release.deploy", "--target", "host", *digest, timeout=600, **machine.variables)


def images() -> set[str]:
    return set(docker("inspect", "--format", "{{.Config.Image}}", *COPIES).split())


@pytest.fixture(name="machine", scope="module")
def _machine(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if what := lacks():
        missing(what)
    with serving_machine(tmp_path_factory.mktemp("machine"), f"{NAME}-production") as machine:
        yield machine


def runs(project: Project, machine: Machine, version: str) -> None:
    """Makes sure that a version runs, in both copies."""
    there = docker("ps", "--quiet", "--filter", f"name={COPIES[0]}")
    if not there or images() != {project.images[version]}:
        done = deploy(project, machine, project.images[version])
        assert done.returncode == 0, done.stdout + done.stderr


def test_first_deployment(project: Project, machine: Machine) -> None:
    """Both copies, hardened and with limits. Without DEPLOY_URL it is asked at the machine's own address."""
    done = deploy(project, machine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("Deployed: version 2 runs in production. p95 is")
    version, known = read(project.client(), NAME)["production"]
    assert (version, known.image, known.target) == ("2", project.images["2"], "host")
    limits = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}"
    assert docker("inspect", "--format", limits, *COPIES).split() == ["true", "1000000000", str(300 * 2**20)] * 2


def test_another_version_loses_no_request(project: Project, machine: Machine) -> None:
    """By its digest: an earlier one, as in a rollback."""
    runs(project, machine, "2")
    with traffic(machine.url, project.record) as seen:
        done = deploy(project, machine, project.images["1"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen.nothing_lost, seen
    assert min(seen.answered[version] for version in "12") > 100
    assert images() == {project.images["1"]}


@pytest.mark.parametrize(("wrong", "says"), [("slow", "and p95_ms is 100."), ("dead", "copy one does not get ready")])
def test_version_that_is_not_as_it_should_be(project: Project, machine: Machine, wrong: str, says: str) -> None:
    """It goes back by itself, and the version before is verified too."""
    runs(project, machine, "1")
    project.promote("2", project.images[wrong])
    with traffic(machine.url, project.record) as seen:
        done = deploy(project, machine)
    assert done.returncode == 1, done.stdout + done.stderr
    assert says in done.stderr
    assert done.stderr.endswith("Version 1 runs again, and was verified.\n")
    assert seen.nothing_lost, seen
    assert images() == {project.images["1"]}


def asked(machine: Machine, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers to a query of today."""
    reply = requests.get(f"{machine.prometheus}/api/v1/query", params={"query": query}, timeout=10)
    assert reply.ok, f"{query}: {reply.text}"
    found: list[dict[str, Any]] = reply.json()["data"]["result"]
    return found


def test_prometheus_answers_all_that_the_dashboard_asks(project: Project, machine: Machine) -> None:
    """And its rules: those that record have a value, and those that alert can be told."""
    runs(project, machine, "1")
    with traffic(machine.url, project.record):
        time.sleep(35)  # two scrapes, for a rate
    panels = json.loads((ROOT / "deploy" / "monitoring" / "dashboard.json").read_text())["panels"]
    for panel in panels:
        queries = [each["expr"].replace("$__rate_interval", "1m") for each in panel["targets"]]
        queries = [query.replace("$namespace", f"{NAME}-production") for query in queries]
        assert any(asked(machine, query) for query in queries), panel["title"]
    (group,) = requests.get(f"{machine.prometheus}/api/v1/rules", timeout=10).json()["data"]["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    for name in ("service:p95_seconds", "service:error_share"):
        (found,) = asked(machine, name)
        assert found["metric"]["namespace"] == f"{NAME}-production"
    assert {found["metric"]["instance"] for found in asked(machine, "up == 1")} == {"one:8000", "two:8000"}
