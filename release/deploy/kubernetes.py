"""Kubernetes, by kubectl: deploy/kubernetes/<environment>, with the namespace, the image and what a pod asks for.

Where components/kserve puts an InferenceService in its place, KServe makes the Deployment and its Service.
"""

import copy
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from release.deploy.target import Needs, Running, TargetError, called

NAME = "service"  # of the Deployment, its Service and its container
BY_KSERVE = "service-predictor"  # the Deployment and the Service that KServe makes
CONTAINERS = (NAME, "kserve-container")
LABELLED = f"--selector=app.kubernetes.io/name={NAME}"  # its pods
CANARY = "canary"  # likewise, of one pod that is tried
SECONDS = 120  # that one call of kubectl may take
ROLLOUT = "15m"  # that all pods may take; progressDeadlineSeconds ends one that does not get on
KSERVE_SECONDS = 60  # that KServe may take to act on what it was told
LOG_LINES = 10
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class Kubernetes:
    """One environment of a project in the cluster of the current context."""

    def __init__(self, project: str, environment: str, root: Path, shell: Mapping[str, str] = os.environ) -> None:
        self.folder = root / "deploy" / "kubernetes" / environment
        if not (self.folder / "kustomization.yaml").is_file():
            known = {path.parent.name for path in self.folder.parent.glob("*/kustomization.yaml")} - {"base"}
            raise TargetError(f"there is no {self.folder}; environments: {', '.join(sorted(known))}")
        self.namespace = shell.get("DEPLOY_NAMESPACE") or f"{project}-{environment}"[:63].rstrip("-")

    def running(self) -> Running | None:
        found = self._kubectl("get", "deployment", self.name, "--ignore-not-found", "--output=json")
        return running_of(json.loads(found)) if found.strip() else None

    def put(self, wanted: Running) -> None:
        self._make_namespace()
        self._apply(placed(self.documents, wanted))
        until = time.monotonic() + KSERVE_SECONDS
        while self.name == BY_KSERVE and self.running() != wanted:
            if time.monotonic() > until:
                raise TargetError("KServe makes no Deployment of the InferenceService; `kubectl describe` it")
            time.sleep(1)
        self._roll_out(self.name)

    @contextmanager
    def canary(self, wanted: Running) -> Iterator[str]:
        """One pod beside what runs, with its share of the traffic; gone afterwards. The URL is of that pod alone."""
        try:
            self._apply(canary_of(self._deployment(wanted)))
            self._roll_out(CANARY)
            with self.address(CANARY) as url:
                yield url
        finally:
            self._kubectl("delete", "deployment,service", CANARY, "--ignore-not-found", "--wait=false")

    @contextmanager
    def address(self, service: str = "") -> Iterator[str]:
        """By a proxy to the API server, which asks one pod or the other, and is slower than a URL of your own."""
        with subprocess.Popen(
            ["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as proxy:
            try:
                assert proxy.stdout is not None  # noqa: S101  a pipe was asked for
                port = re.search(r":(\d+)$", proxy.stdout.readline().strip())
                if port is None:
                    raise TargetError("`kubectl proxy` does not start")
                path = f"api/v1/namespaces/{self.namespace}/services/http:{service or self.name}:http/proxy"
                yield f"http://127.0.0.1:{port[1]}/{path}"
            finally:
                proxy.terminate()

    @cached_property
    def documents(self) -> list[dict[str, Any]]:
        """What Kustomize makes of the environment's folder. Raises TargetError."""
        return list(yaml.safe_load_all(kubectl("kustomize", str(self.folder))))

    @cached_property
    def name(self) -> str:
        """Of the Deployment and of its Service."""
        return BY_KSERVE if any(each["kind"] == "InferenceService" for each in self.documents) else NAME

    def _deployment(self, wanted: Running) -> dict[str, Any]:
        documents = self.documents
        if self.name == BY_KSERVE:
            documents = [json.loads(self._kubectl("get", "deployment", self.name, "--output=json"))]
        return next(each for each in placed(documents, wanted) if each["kind"] == "Deployment")

    def _apply(self, documents: Sequence[Mapping[str, Any]]) -> None:
        text = yaml.safe_dump_all(documents, sort_keys=False)
        options = ("--server-side", "--force-conflicts", "--field-manager=make-deploy")
        self._kubectl("apply", *options, "--filename=-", text=text)

    def _roll_out(self, deployment: str) -> None:
        try:
            self._kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={ROLLOUT}", seconds=1000)
        except TargetError as error:
            raise TargetError(f"the new pods do not get ready: {self._why() or error}") from None

    def _make_namespace(self) -> None:
        """Whoever may not make one has got one."""
        if kubectl("get", "namespace", self.namespace, "--ignore-not-found", "--output=name").strip():
            return
        namespace = {"kind": "Namespace", "metadata": {"name": self.namespace, "labels": RESTRICTED}}
        kubectl("create", "--filename=-", text=json.dumps({"apiVersion": "v1", **namespace}))

    def _why(self) -> str:
        """Why pods are not ready: what the cluster says of them, and the last words of the service."""
        pods = json.loads(self._kubectl("get", "pods", LABELLED, "--output=json"))["items"]
        waiting = {pod["metadata"]["name"]: why for pod in pods if (why := complaint(pod))}
        for pod, why in waiting.items():
            try:
                log = self._kubectl("logs", pod, f"--tail={LOG_LINES}").strip()
            except TargetError:  # it never ran
                log = ""
            return f"{why}\n{log}".rstrip()
        return ""

    def _kubectl(self, *arguments: str, text: str = "", seconds: int = SECONDS) -> str:
        return kubectl(f"--namespace={self.namespace}", *arguments, text=text, seconds=seconds)


def placed(documents: Sequence[Mapping[str, Any]], wanted: Running) -> list[dict[str, Any]]:
    """What Kustomize made, with the image and what it takes in each container called `service`."""
    image, needs = wanted
    memory = needs.memory_mb
    resources = {
        "requests": {"cpu": f"{1000 * needs.cpu:.0f}m", "memory": f"{memory}M"},
        "limits": {"cpu": str(needs.workers), "memory": f"{2 * memory}M"},
    }
    done = copy.deepcopy([dict(each) for each in documents])
    for container in (container for document in done for container in _containers(document)):
        variables = {each["name"]: each for each in container.get("env", [])}
        variables |= {"IMAGE": {"name": "IMAGE", "value": image}}
        variables |= {"WEB_CONCURRENCY": {"name": "WEB_CONCURRENCY", "value": str(needs.workers)}}
        container |= {"image": image, "env": list(variables.values()), "resources": resources}
    return done


def canary_of(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One pod like those of a Deployment, which its Service takes for one of them, and a Service of its own."""
    pod = copy.deepcopy(deployment["spec"]["template"])
    labels = pod["metadata"]["labels"] | {"track": CANARY}
    pod["metadata"] = pod["metadata"] | {"labels": labels}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    spec |= {key: each for key, each in deployment["spec"].items() if key == "progressDeadlineSeconds"}
    port = {"name": "http", "port": 80, "targetPort": "http"}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": CANARY}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": CANARY},
            "spec": {"selector": labels, "ports": [port]},
        },
    ]


def running_of(deployment: Mapping[str, Any]) -> Running:
    """What a Deployment of ours runs; where somebody has edited what it asks for, that has a default."""
    (container,) = _containers(deployment)
    variables = {each["name"]: each.get("value", "") for each in container.get("env", [])}
    requests = container.get("resources", {}).get("requests", {})
    try:
        needs = Needs(int(variables["WEB_CONCURRENCY"]), _cpu(requests["cpu"]), _memory_mb(requests["memory"]))
    except (KeyError, ValueError):
        needs = Needs()
    return Running(container["image"], needs)


def complaint(pod: Mapping[str, Any]) -> str:
    """What the cluster says of a pod that is not ready; empty of one that is."""
    status = pod["status"]
    for container in status.get("containerStatuses", []):
        state = container["state"] | {key: each for key, each in container.get("lastState", {}).items() if each}
        for kind in ("waiting", "terminated"):
            if kind in state and not container["ready"]:
                said = state[kind]
                return ": ".join(part for part in (said.get("reason", kind), said.get("message", "").strip()) if part)
        if not container["ready"]:
            return "it runs, but /readyz does not answer 200"
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition['reason']}: {condition['message']}"
    return ""


def kubectl(*arguments: str, text: str = "", seconds: int = SECONDS) -> str:
    """What kubectl writes. Raises TargetError."""
    return called("kubectl", *arguments, text=text, seconds=seconds).stdout


def _containers(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    spec = document.get("spec", {})
    pod = spec.get("predictor") or spec.get("template", {}).get("spec", {})
    return [each for each in pod.get("containers", []) if each["name"] in CONTAINERS]


def _cpu(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def _memory_mb(quantity: str) -> int:
    """Kubernetes makes 2G of 2000M."""
    return int(quantity[:-1]) * {"M": 1, "G": 1000}[quantity[-1]]
