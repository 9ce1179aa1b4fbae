"""This machine, by SSH as if it were another. Debian's Caddy and Prometheus stand in for their makers' images."""

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.engine.conftest import ROOT
from tests.template.deploy.standin import images, installed, remove

PROGRAMS = ["caddy", "prometheus"]
COMPOSE = ROOT / "deploy" / "host" / "compose.yml"
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
    prometheus: str
    key: str  # that opens it
    known_hosts: str
    variables: dict[str, str]  # of a deployment to it from here


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lacks() -> str:
    """What has to be installed; empty: nothing."""
    there = all(map(installed, PROGRAMS)) and _sshd()
    return (
        ""
        if there
        else "sshd, caddy, prometheus and busybox: apt install openssh-server caddy prometheus busybox-static"
    )


@contextmanager
def serving_machine(folder: Path, project: str) -> Iterator[Machine]:
    """Its keys lie in a folder; what a project runs there is gone afterwards."""
    port, http, prometheus = free_port(), free_port(), free_port()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    (folder / "sshd.conf").write_text(SSHD.format(port=port, folder=folder))
    (folder / "ssh.conf").write_text(SSH.format(folder=folder))
    known_hosts = f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}"
    (folder / "known_hosts").write_text(known_hosts)
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh.conf "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([str(_sshd()), "-D", "-f", folder / "sshd.conf", "-E", folder / "sshd.log"])
    host = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
    variables = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "DEPLOY_HOST": host,
        "HTTP_PORT": f"127.0.0.1:{http}",
        "HTTPS_PORT": f"127.0.0.1:{free_port()}",
        "PROMETHEUS_PORT": str(prometheus),
        "COMPOSE_PROFILES": "monitoring",
    }
    remove(project)  # of a run that was killed
    urls = f"http://127.0.0.1:{http}", f"http://127.0.0.1:{prometheus}"
    try:
        with images(folder, COMPOSE, PROGRAMS):
            yield Machine(host, *urls, (folder / "user").read_text(), known_hosts, variables)
    finally:
        remove(project)
        server.terminate()
        server.wait()


def _sshd() -> str | None:
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
