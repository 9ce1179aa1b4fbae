"""serving.gunicorn.conf: the real server under hard conditions."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import msgspec
import pytest
import skops.io

from pipeline import bundle as bundles
from pipeline.settings import load_settings
from tests.engine.conftest import PROJECT, copy_project, environment
from tests.engine.serving.conftest import HANGS, Service, free_port, metrics, wait_until_ready

Serve = Callable[..., Service]


def request(record: bytes) -> bytes:
    return b'{"instances":[' + record + b"]}"


def test_ready_within_two_seconds(serve: Serve) -> None:
    """From start to the first answer no process works longer than that, whatever else the machine does meanwhile."""
    service = serve(WEB_CONCURRENCY="2")
    assert max(map(cpu_seconds, [service.process.pid, *service.workers()])) < 2


def cpu_seconds(process: int) -> float:
    """The time that a process has had of a CPU."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_bad_input_leaves_it_alive(serve: Serve, records: list[bytes]) -> None:
    """A body of 10 MB gets its 413 through the socket, a body 100,000 deep its 400, and the service answers on."""
    service = serve()
    bodies = {b" " * 10_000_000: 413, b"[" * 100_000: 400, request(records[0].replace(b"{", b'{"x":1,', 1)): 422}
    for _ in range(3):
        for data, status in bodies.items():
            assert service.get("/predict", data)[0] == status
    assert service.get("/predict", request(records[0]))[0] == 200


def test_a_body_with_no_length_is_limited_too(serve: Serve) -> None:
    """Chunked, 10 MB: 413."""
    service = serve()
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            client.sendall(b"f4240\r\n" + b" " * 1_000_000 + b"\r\n")
        client.sendall(b"0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_metrics_add_up_over_workers(serve: Serve, records: list[bytes]) -> None:
    """Whichever worker is asked, it answers for all, and for one that was killed while it answered."""
    service = serve(WEB_CONCURRENCY="2", MLOPS_FAULT_BURN_MS="20")
    for _ in range(30):
        service.get("/predict", request(records[0]))
    batch = b'{"instances":[' + b",".join(records[:20]) + b"]}"
    service.get("/predict", batch)
    service.get("/predict", b"{}")
    client = socket.create_connection(("127.0.0.1", service.port))
    client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")  # waits for the rest
    for worker in service.workers():
        os.kill(worker, signal.SIGKILL)
    client.close()
    wait_until_ready(service)
    found = metrics(service)
    route = 'route="/predict"'
    assert found[f'http_requests_total{{{route},status="200"}}'] == 31
    assert found[f'http_requests_total{{{route},status="422"}}'] == 1
    assert found["http_requests_in_flight"] == 1  # the one that asks
    assert found[f"http_request_seconds_count{{{route}}}"] == 32
    assert found[f'http_request_seconds_bucket{{le="0.02",{route}}}'] == 1  # what was refused burnt nothing
    assert found[f'http_request_seconds_bucket{{le="+Inf",{route}}}'] == 32
    limit = load_settings(PROJECT).perf.p95_ms
    assert limit
    assert f'http_request_seconds_bucket{{le="{limit / 1000}",{route}}}' in found
    assert (found["predicted_rows_count"], found["predicted_rows_sum"]) == (31, 50)
    predicted = [value for name, value in found.items() if name.startswith("predictions_total")]
    assert sum(predicted) == 50 or found["predicted_value_count"] == 50


def test_a_killed_worker_costs_only_its_own_requests(serve: Serve, records: list[bytes]) -> None:
    """SIGKILL under load: no more failures than requests that were under way, and none once there is a new worker."""
    service = serve(WEB_CONCURRENCY="2")
    clients, stop = 4, threading.Event()
    failures: list[str] = []
    answers: list[int] = []

    def load() -> None:
        while not stop.is_set():
            try:
                answers.append(service.get("/predict", request(records[0]))[0])
            except (OSError, HTTPException) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(clients)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) > 100)
    before = set(service.workers())
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(set(service.workers()) - {min(before)}) == 2)
    failed, answered = len(failures), len(answers)
    until(lambda: len(answers) > answered + 1000)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(failures) == failed <= clients, failures
    assert set(answers) == {200}


def until(condition: Callable[[], bool]) -> None:
    """Waits for what is to come."""
    end = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_sigterm_lets_requests_finish(serve: Serve, records: list[bytes]) -> None:
    """A request under way when SIGTERM comes is answered, and then the server is gone."""
    service = serve("--graceful-timeout", "1000", WEB_CONCURRENCY="1", MLOPS_FAULT_BURN_MS="1500")
    (worker,) = service.workers()
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(service.get("/predict", request(records[0]))[0]))
    idle = cpu_seconds(worker)
    thread.start()
    until(lambda: cpu_seconds(worker) > idle + 0.3)  # it burns
    service.process.send_signal(signal.SIGTERM)
    thread.join()
    service.process.wait(HANGS)
    assert answers == [200]
    assert "SIGABRT" not in service.log.read_text()  # a runtime that the master had loaded ended its workers so


@pytest.mark.slow
def test_sigterm_does_not_wait_for_ever(serve: Serve) -> None:
    """A request whose client never sends the rest keeps the server for graceful_timeout, which is 4 s, not longer."""
    service = serve(WEB_CONCURRENCY="1", MLOPS_SERVING__BODY_SECONDS="1000")
    with socket.create_connection(("127.0.0.1", service.port), timeout=HANGS) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(HANGS)
        assert client.recv(1) == b""


def rewritten(folder: Path, name: str, data: bytes, **card: str) -> None:
    """The bundle with another file in it, and a card that says so."""
    given = bundles.read(folder).card
    files = {each: (folder / each).read_bytes() for each in given.files} | {name: data}
    hashes = {each: bundles.sha256(content) for each, content in files.items()}
    bundles.write(folder, files, msgspec.structs.replace(given, files=hashes, **card))


class Foreign:
    """A type that is nobody's model."""


@pytest.mark.parametrize("damage", ["no-bundle", "damaged", "no-model", "other-code", "other-version", "foreign-type"])
def test_what_cannot_be_served_is_refused_in_one_line(trained: Path, tmp_path: Path, serve: Serve, damage: str) -> None:
    """Exit code 3 and a sentence that says what to do; no traceback, no endless restarts of workers."""
    project = copy_project(tmp_path / "project")
    if damage != "no-bundle":
        (project / "bundle").mkdir()
        for path in (trained / "bundle").iterdir():
            (project / "bundle" / path.name).write_bytes(path.read_bytes())
    if damage == "damaged":
        next((project / "bundle").glob("model.*")).write_bytes(b"")
    if damage == "no-model":
        rewritten(project / "bundle", bundles.MODELS["onnx"], b"no model at all", runtime="onnx")
    if damage == "other-code":
        with (project / "src" / "model" / "data.py").open("a") as file:
            file.write("# changed\n")
    if damage == "other-version":
        contract = (project / "bundle" / bundles.CONTRACT).read_bytes()
        rewritten(project / "bundle", bundles.CONTRACT, contract.replace(b'"version": 1', b'"version": 9'))
    if damage == "foreign-type":
        rewritten(project / "bundle", bundles.MODELS["sklearn"], skops.io.dumps(Foreign()), runtime="sklearn")
    service = serve(wait=False, project=project)
    assert service.process.wait(HANGS) == 3
    log = service.log.read_text()
    assert "Cannot serve: " in log
    said = {"other-version": "contract version 9", "foreign-type": "tests.engine.serving.test_gunicorn.Foreign"}
    assert said.get(damage, "make train") in log
    assert "Traceback" not in log


def test_a_check_says_what_cannot_be_served(serve: Serve) -> None:
    """`gunicorn --check-config`, as the image is built with: the same line and exit code, with no worker about."""
    service = serve("--check-config", wait=False, BUNDLE="/nowhere")
    assert service.process.wait(HANGS) == 3
    assert service.log.read_text().startswith("Cannot serve: /nowhere")
    assert "Traceback" not in service.log.read_text()


def test_a_log_that_cannot_be_written_fails_no_request(trained: Path, records: list[bytes]) -> None:
    """A full disk behind stdout: the answers are as ever, and so is the count of requests under way."""
    port = free_port()
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", str(trained / "serving" / "gunicorn.conf.py")],
            cwd=trained,
            env=environment(trained, PORT=str(port), MLOPS_SERVING__ACCESS_LOG="all", WEB_CONCURRENCY="1"),
            stdout=full,
            stderr=subprocess.DEVNULL,
        )
    service = Service(f"http://127.0.0.1:{port}", port, process, Path("/dev/null"))
    try:
        wait_until_ready(service)
        assert service.get("/predict", request(records[0]))[0] == 200
        assert service.get("/nope")[0] == 404
        assert b"http_requests_in_flight 1.0" in service.get("/metrics")[1]
    finally:
        process.terminate()
        process.wait()


def test_a_fault_slows_each_prediction(serve: Serve, records: list[bytes]) -> None:
    """MLOPS_FAULT_BURN_MS is what README offers for trying the gate, and the log says that it is set."""
    service = serve(MLOPS_FAULT_BURN_MS="50", WEB_CONCURRENCY="1")
    started = time.monotonic()
    status, answer = service.get("/predict", request(records[0]))
    assert status == 200
    assert json.loads(answer)["predictions"]
    assert time.monotonic() - started >= 0.05
    assert "MLOPS_FAULT_BURN_MS" in service.log.read_text()


def test_the_platforms_ports(trained: Path, tmp_path: Path) -> None:
    """Vertex AI says which port in AIP_HTTP_PORT, others in PORT."""
    module = [sys.executable, "-m", "gunicorn", "--config", "serving/gunicorn.conf.py", "--print-config"]
    for more, bound in (
        ({"AIP_HTTP_PORT": "8081", "PORT": "9"}, "127.0.0.1:8081"),
        ({"PORT": "8082", "HOST": "127.0.0.2"}, "127.0.0.2:8082"),
        ({"PORT": "8083", "HOST": "::1"}, "[::1]:8083"),
        ({"PORT": "8084", "HOST": "::"}, "[::]:8084"),
    ):
        done = subprocess.run(
            module,
            cwd=trained,
            env=environment(trained, **more),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert bound in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["HOST", "PORT", "AIP_HTTP_PORT", "SHUTDOWN_DELAY"])
@pytest.mark.parametrize("value", ["x86_64-conda-linux-gnu", "1.2.3.4.5", "70000", "-1"])
def test_a_variable_that_makes_no_sense_is_named(trained: Path, name: str, value: str) -> None:
    """Conda and some shells set HOST to the name of something else."""
    module = [sys.executable, "-m", "gunicorn", "--config", "serving/gunicorn.conf.py"]
    more = environment(trained, **{name: value})
    done = subprocess.run(module, cwd=trained, env=more, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Cannot serve: the variable {name} is {value!r}")


def test_it_listens_on_ipv6(serve: Serve) -> None:
    """HOST=:: takes both kinds of addresses."""
    service = serve(HOST="::")
    socket.create_connection(("::1", service.port), timeout=10).close()
