"""One machine with Docker, by SSH: deploy/host/compose.yml, whose two copies of the service are replaced in turn."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from release.deploy.target import Needs, Running, TargetError, called

COPIES = ("one", "two")
CALL_SECONDS = 600  # that one call of Docker may take: a pull
SECONDS = 60  # until a new copy has to be healthy
MEBIBYTE = 1024**2


class Host:
    """One environment of a project on one machine. DEPLOY_HOST says which: ssh://user@machine."""

    def __init__(self, project: str, environment: str, root: Path, shell: Mapping[str, str] = os.environ) -> None:
        self.name = f"{project}-{environment}"
        self.file = root / "deploy" / "host" / "compose.yml"
        monitoring = root / "deploy" / "monitoring"
        self.monitoring = {"RULES": (monitoring / "rules.yml").read_text()}
        self.monitoring["DASHBOARD"] = (monitoring / "dashboard.json").read_text()
        self.address_of = shell.get("DEPLOY_HOST", "")
        if not self.address_of.startswith("ssh://"):
            raise TargetError("DEPLOY_HOST does not say which machine; such as DEPLOY_HOST=ssh://user@machine")
        self.port = shell.get("HTTP_PORT", "80").rpartition(":")[2]
        self.shell = {**shell, "DOCKER_HOST": self.address_of}

    def running(self) -> Running | None:
        for copy in COPIES:
            found = self._docker("ps", "--all", "--quiet", *self._of(copy)).split()
            if found:
                return running_of(json.loads(self._docker("inspect", found[0]))[0])
        return None

    def put(self, wanted: Running) -> None:
        image, needs = wanted
        values = {"IMAGE": image, "WORKERS": str(needs.workers), "MEMORY": f"{2 * needs.memory_mb}M"} | self.monitoring
        self._compose("pull", "--quiet", *COPIES, **values)
        for copy in COPIES:  # the other one answers meanwhile
            try:
                self._compose("up", "--detach", "--no-deps", "--wait", f"--wait-timeout={SECONDS}", copy, **values)
            except TargetError as error:
                log = self._docker(
                    "logs", "--tail=10", *self._docker("ps", "--all", "--quiet", *self._of(copy)).split()
                )
                raise TargetError(f"copy {copy} does not get ready: {error}\n{log}".rstrip()) from None
        self._compose("up", "--detach", **values)  # the rest

    @contextmanager
    def address(self) -> Iterator[str]:
        yield f"http://{urlsplit(self.address_of).hostname}:{self.port}"

    def _of(self, copy: str) -> list[str]:
        of = {"project": self.name, "service": copy}
        return [f"--filter=label=com.docker.compose.{key}={value}" for key, value in of.items()]

    def _compose(self, *arguments: str, **values: str) -> str:
        return self._docker("compose", f"--file={self.file}", f"--project-name={self.name}", *arguments, **values)

    def _docker(self, *arguments: str, **values: str) -> str:
        """What Docker writes there. Raises TargetError, which names the machine."""
        try:
            done = called("docker", *arguments, seconds=CALL_SECONDS, environment=self.shell | values)
        except TargetError as error:
            raise TargetError(f"at {self.address_of}: {error}") from None
        return done.stdout + (done.stderr if arguments[0] == "logs" else "")


def running_of(container: Mapping[str, Any]) -> Running:
    """What a container of ours runs."""
    variables = dict(each.split("=", 1) for each in container["Config"]["Env"])
    memory = container["HostConfig"]["Memory"] // (2 * MEBIBYTE)
    needs = Needs(int(variables.get("WEB_CONCURRENCY", Needs().workers)), Needs().cpu, memory or Needs().memory_mb)
    return Running(container["Config"]["Image"], needs)
