"""Real servers for the tests: a store of objects that checks its keys, a database, and a web server."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import pytest
import requests

from tests.engine.conftest import ROOT

MOTO = ["--from", "moto[s3]==5.2.5", "--with", "flask==3.1.3", "--with", "flask-cors==6.0.5", "moto_server"]
STARTS = 60.0  # s, within which each is there


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing(what: str) -> None:
    """Skips on a laptop; fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"the tests need {what}")
    pytest.skip(f"install {what}")


@contextlib.contextmanager
def store(folder: Path) -> Iterator[Mapping[str, str]]:
    """An S3 server, with the environment of somebody who may use it."""
    port = free_port()
    tool = ["sh", "requirements/tool.sh", "uv", "tool", "run", "--quiet", *MOTO, "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("w") as log:
        # The first requests need no key: by these somebody gets one.
        environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "3"}
        process = subprocess.Popen(tool, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(port, process, folder / "moto.log")
        yield {**_keys(port), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1"}
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def _keys(port: int) -> dict[str, str]:
    scope = "AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=none"

    def iam(**asked: str) -> str:
        data = {**asked, "UserName": "trainer", "Version": "2010-05-08"}
        answer = requests.post(f"http://127.0.0.1:{port}/", data, headers={"Authorization": scope}, timeout=30)
        answer.raise_for_status()
        return answer.text

    iam(Action="CreateUser")
    made = iam(Action="CreateAccessKey")
    allowed = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
    iam(Action="PutUserPolicy", PolicyName="all", PolicyDocument=allowed)
    names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey"}
    return {name: re.findall(f"<{tag}>(.*?)<", made)[0] for name, tag in names.items()}


@contextlib.contextmanager
def database(folder: Path) -> Iterator[str]:
    """The address of a PostgreSQL server."""
    found = [Path(each) for each in (shutil.which("initdb"),) if each] or [
        *Path("/usr/lib/postgresql").glob("*/bin/initdb")
    ]
    if not found:
        missing("PostgreSQL (apt-get install postgresql)")
    programs, port = found[-1].parent, free_port()
    folder.mkdir()
    # It refuses to be root.
    nobody = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if nobody:
        shutil.chown(folder, "postgres", "postgres")
        for parent in folder.parents:
            if parent.owner() == "root" and parent != Path("/") and parent.is_relative_to("/tmp"):  # noqa: S108
                parent.chmod(parent.stat().st_mode | 0o011)
    password = folder / "password"
    password.write_text("secret")
    password.chmod(0o644)
    setup = [f"--pgdata={folder / 'data'}", f"--pwfile={password}", "--username=ada", "--auth=scram-sha-256"]
    setup += ["--no-sync", "--encoding=UTF8"]
    subprocess.run([*nobody, programs / "initdb", *setup], check=True, capture_output=True, cwd="/")
    quick = ["-c", "fsync=off", "-c", f"unix_socket_directories={folder}", "-c", "listen_addresses=127.0.0.1"]
    with (folder / "log").open("w") as log:
        start = [*nobody, programs / "postgres", "-D", folder / "data", "-p", str(port), *quick]
        process = subprocess.Popen(start, stdout=log, stderr=log, cwd="/")
    try:
        _wait(port, process, folder / "log")
        yield f"postgresql://ada:secret@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + STARTS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


class _Dies(_Quiet):
    """Ends in the middle of what it sends."""

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:  # type: ignore[override]
        content = source.read()
        outputfile.write(content[: len(content) // 2])
        self.close_connection = True


@contextlib.contextmanager
def web(folder: Path, dies: bool = False) -> Iterator[str]:
    """The address of a web server of what lies in a folder."""
    handler = partial(_Dies if dies else _Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
