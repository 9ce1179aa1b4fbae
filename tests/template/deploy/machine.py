"""This machine, reached by SSH as if it were another, with Debian's Caddy in an image in place of Caddy's own."""

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.engine.docker.containers import docker

PROXY = "deploy-test/caddy"
CADDY = """FROM {image}
USER root
COPY caddy /usr/bin/caddy
ENV XDG_DATA_HOME=/data
HEALTHCHECK NONE
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
"""
SSHD = """Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PidFile {folder}/sshd.pid
"""
SSH = """Host *
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
"""


@dataclass(frozen=True)
class Machine:
    """A machine with Docker."""

    host: str  # DEPLOY_HOST
    url: str  # where the proxy answers
    key: str  # that opens it
    known_hosts: str
    variables: dict[str, str]  # of a deployment to it from here


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lacks() -> str:
    """What has to be installed; empty: nothing."""
    there = shutil.which("caddy") and _sshd()
    return "" if there else "sshd and caddy: apt install openssh-server caddy"


@contextmanager
def serving_machine(folder: Path, image: str, project: str) -> Iterator[Machine]:
    """Its keys lie in a folder; what a project runs there is gone afterwards. image: any, to put the proxy on."""
    port, http = free_port(), free_port()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    (folder / "sshd.conf").write_text(SSHD.format(port=port, folder=folder))
    (folder / "ssh.conf").write_text(SSH.format(folder=folder))
    known_hosts = f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}"
    (folder / "known_hosts").write_text(known_hosts)
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh.conf "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    (folder / "image").mkdir()
    shutil.copy(str(shutil.which("caddy")), folder / "image" / "caddy")
    (folder / "image" / "Dockerfile").write_text(CADDY.format(image=image))
    docker("build", "--quiet", "--tag", PROXY, str(folder / "image"))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([str(_sshd()), "-D", "-f", folder / "sshd.conf", "-E", folder / "sshd.log"])
    host = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
    variables = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "DEPLOY_HOST": host,
        "PROXY_IMAGE": PROXY,
        "HTTP_PORT": f"127.0.0.1:{http}",
        "HTTPS_PORT": f"127.0.0.1:{free_port()}",
    }
    _remove(project)  # of a run that was killed
    try:
        yield Machine(host, f"http://127.0.0.1:{http}", (folder / "user").read_text(), known_hosts, variables)
    finally:
        _remove(project)
        server.terminate()
        server.wait()


def _remove(project: str) -> None:
    ours = f"--filter=label=com.docker.compose.project={project}"
    for container in docker("ps", "--all", "--quiet", ours).split():
        docker("rm", "--force", "--volumes", container)
    for kind in ("network", "volume"):
        for name in docker(kind, "ls", "--quiet", ours).split():
            docker(kind, "rm", name)


def _sshd() -> str | None:
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
