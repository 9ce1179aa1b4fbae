"""Restarts behind nginx and HAProxy, one replica after the other: no request is lost, kept connections included.

Neither proxy sends a POST again that it has sent already. Both ask the other replica where one refuses to connect.
"""

import http.client
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.serving.conftest import HANGS, Service, free_port

pytestmark = pytest.mark.slow
CLIENTS, RESTARTS = 16, 4
# Seconds. nginx leaves a replica alone for fail_timeout after it refused a connection, by a clock of whole seconds: had
# the other one been stopped meanwhile, it would know of none.
BETWEEN = 2.5
NGINX = """daemon off;
pid {folder}/pid;
error_log {folder}/log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream service {{
    server 127.0.0.1:{first} fail_timeout=1s;
    server 127.0.0.1:{second} fail_timeout=1s;
    keepalive 32;
  }}
  server {{
    listen 127.0.0.1:{front};
    keepalive_requests 1000000;
    location / {{ proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
HAPROXY = """defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  option redispatch 1
  http-reuse always
frontend front
  bind 127.0.0.1:{front}
  default_backend service
backend service
  option httpchk GET /readyz
  server first 127.0.0.1:{first} check inter 200ms
  server second 127.0.0.1:{second} check inter 200ms
"""
PROXIES = {"nginx": (NGINX, ["nginx", "-c"]), "haproxy": (HAPROXY, ["haproxy", "-f"])}


def load(port: int, body: bytes, over: threading.Event, answers: list[str]) -> None:
    """A client on a kept connection; what it was answered, 200 or what went wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANGS)
    while not over.is_set():
        try:
            connection.request("POST", "/predict", body)
            answer = connection.getresponse()
            answer.read()
            answers.append(str(answer.status))
        except (OSError, http.client.HTTPException) as error:
            answers.append(repr(error))
            connection.close()
    connection.close()


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_rolling_restart_loses_nothing(
    serve: Callable[..., Service], records: list[bytes], tmp_path: Path, proxy: str
) -> None:
    """Four restarts under load."""
    if shutil.which(proxy) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {proxy} (Debian, Ubuntu)")
    replicas = [serve(WEB_CONCURRENCY="2") for _ in range(2)]
    front, (text, command) = free_port(), PROXIES[proxy]
    file = tmp_path / "proxy.conf"
    file.write_text(text.format(folder=tmp_path, front=front, first=replicas[0].port, second=replicas[1].port))
    answers, over = list[str](), threading.Event()
    body = b'{"instances":[' + records[0] + b"]}"
    threads = [threading.Thread(target=load, args=(front, body, over, answers)) for _ in range(CLIENTS)]
    with subprocess.Popen([*command, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(BETWEEN)
            for thread in threads:
                thread.start()
            for number in range(RESTARTS):
                time.sleep(BETWEEN)
                old = replicas[number % 2]
                old.process.send_signal(signal.SIGTERM)
                old.process.wait(HANGS)
                replicas[number % 2] = serve(WEB_CONCURRENCY="2", PORT=str(old.port))
            time.sleep(BETWEEN)
        finally:
            over.set()
            for thread in threads:
                thread.join()
            process.terminate()
    assert len(answers) > 1000
    assert set(answers) == {"200"}
