"""serving.http.asgi and serving.app: a client gets the same bytes from the event loop and from plain WSGI."""

import gzip
import http.client
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.settings import load_settings
from serving.http.asgi import App
from serving.service import load
from tests.engine.conftest import PROJECT, environment
from tests.engine.serving.conftest import HANGS, PLAIN, Service, free_port, metrics, wait_until_ready

Request = tuple[str, str, bytes, dict[str, str]]
OWN = {"date", "server", "connection", "transfer-encoding"}  # of the server, not of the service
NAME = load_settings(PROJECT).project.name
ID = {"X-Request-ID": "a-request", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@pytest.fixture(name="both", scope="module")
def _both(serve_module: Callable[..., Service]) -> Iterator[tuple[Service, Service]]:
    yield serve_module(WEB_CONCURRENCY="1"), serve_module(*PLAIN, WEB_CONCURRENCY="1")


def body(record: bytes) -> bytes:
    return b'{"instances":[' + record + b"]}"


def ask(service: Service, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[object, ...]:
    """Status, headers of the service, and body."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    connection.request(method, path, body or None, headers | ID)
    answer = connection.getresponse()
    fields = sorted((name.lower(), value) for name, value in answer.getheaders() if name.lower() not in OWN)
    data = answer.read()
    connection.close()
    return answer.status, fields, data


def requests(record: bytes) -> dict[str, Request]:
    """Right and wrong ones."""
    one = b'{"instances":[' + record + b"]}"
    wrong = json.loads(record)
    name = next(iter(wrong))
    bodies = {
        "one": one,
        "many": b'{"instances":[' + b",".join([record] * 200) + b"]}",
        "too many": b'{"instances":[' + b",".join([b"0"] * 1001) + b"]}",
        "too large": b" " * 1_000_001,
        "far too large": b" " * 5_000_000,
        "empty": b"",
        "not json": b"{",
        "not text": b"\xff\xfe",
        "nan": one.replace(record, json.dumps(wrong | {name: float("nan")}).encode()),
        "deep": b"[" * 100_000,
        "list": b"[]",
        "no instances": b"{}",
        "no rows": b'{"instances":[]}',
        "no fields": b'{"instances":[{}]}',
        "unknown field": b'{"instances":[' + record.replace(b"{", b'{"x":1,', 1) + b"]}",
        "wrong type": json.dumps({"instances": [wrong | {name: [1]}]}).encode(),
        "surrogate": b'{"instances":["\\ud800"]}',
    }
    found: dict[str, Request] = {title: ("POST", "/predict", body, {}) for title, body in bodies.items()}
    frame = json.dumps({"dataframe_records": [wrong]}).encode()
    tensors = [
        {"name": key, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
        for key, value in wrong.items()
    ]
    for answer in ("json", "binary"):
        parameters = {"binary_data_output": answer == "binary"}
        infer = json.dumps({"inputs": tensors, "parameters": parameters}).encode()
        found[f"infer, {answer}"] = ("POST", f"/v2/models/{NAME}/infer", infer, {})
    packed = {"gzip": gzip.compress(one), "deflate": zlib.compress(one), "gzip, damaged": gzip.compress(one)[:-9]}
    packed |= {"gzip, a bomb": gzip.compress(bytes(9_000_000)), "br": one}
    for title, body in packed.items():
        found[title] = ("POST", "/predict", body, {"Content-Encoding": title.partition(",")[0]})
    for path in ("/invocations", f"/v2/models/{NAME}/infer", f"/v1/models/{NAME}:predict"):
        found[f"{path} one"] = ("POST", path, one, {})
        found[f"{path} frame"] = ("POST", path, frame, {})
        found[f"{path} csv"] = ("POST", path, b"a,b\n1,2", {"Content-Type": "text/csv"})
        found[f"{path} deep"] = ("POST", path, b"[" * 100_000, {})
        found[f"{path} large"] = ("POST", path, b" " * 1_000_001, {})
    paths = (
        "/livez",
        "/readyz",
        "/model",
        "/nope",
        "/predict",
        "/",
        "/docs",
        "/openapi.json",
        "/page/page.css",
        "/ping",
    )
    for path in (*paths, "/health", "/version", "/v2", "/v2/health/ready", f"/v2/models/{NAME}", f"/v1/models/{NAME}"):
        for method in ("GET", "HEAD", "DELETE"):
            found[f"{method} {path}"] = (method, path, b"", {})
    for path in ("/predict/", "//predict//", f"/v1/models/{NAME}:predict/"):
        found[path] = ("POST", path, one, {})
    for path in ("/livez/", "/v2/", "/docs/", f"/v2/models/{NAME}/"):
        found[path] = ("GET", path, b"", {})
    found["query"] = ("POST", "/predict?verbose=1", one, {})
    found["escaped path"] = ("POST", "/%70redict", one, {})
    found["media type"] = ("POST", "/predict", one, {"Content-Type": "text/plain"})
    return found


def test_both_apps_answer_alike(both: tuple[Service, Service], records: list[bytes]) -> None:
    """Status, headers and body, byte for byte, of right and wrong requests."""
    for title, request in requests(records[0]).items():
        asgi, wsgi = (ask(service, *request) for service in both)
        assert asgi == wsgi, title
        assert 200 <= int(str(asgi[0])) < 500, title


def test_the_event_loop_does_not_wait_for_what_is_compressed(trained: Path, records: list[bytes]) -> None:
    """A body that is small may hold many rows: a thread answers it."""
    app = App(load(trained / "bundle"), 1)
    route, small = app.routes["POST", "/predict"], body(records[0])
    assert app.at_once(route, [], small) is not None
    assert app.at_once(route, [(b"content-encoding", b"gzip")], gzip.compress(small)) is None


def test_plain_wsgi_adds_up_metrics(serve: Callable[..., Service], records: list[bytes]) -> None:
    """Several workers with several threads each: whichever is asked, it answers for all."""
    service = serve(*PLAIN, WEB_CONCURRENCY="2")
    with ThreadPoolExecutor(8) as pool:
        statuses = [status for status, _ in pool.map(service.get, ["/predict"] * 40, [body(records[0])] * 40)]
    assert statuses == [200] * 40
    assert service.get("/predict", b"{}")[0] == 422
    for _ in range(6):  # of both workers, most likely
        count = metrics(service)
        assert count['http_requests_total{route="/predict",status="200"}'] == count["predicted_rows_sum"] == 40
        assert count['http_requests_total{route="/predict",status="422"}'] == 1
        assert count["http_requests_in_flight"] == 1  # the one that asks


def test_any_wsgi_server_can_run_it(trained: Path, records: list[bytes]) -> None:
    """`serving.app:create_app()` with PYTHONPATH=.:src, and nothing of gunicorn.conf.py."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "serving.app:create_app()"],
        cwd=trained,
        env=environment(trained, PYTHONPATH=".:src", GUNICORN_CMD_ARGS="--no-control-socket"),
        stderr=subprocess.DEVNULL,
    )
    service = Service(f"http://127.0.0.1:{port}", port, process, Path("/dev/null"))
    try:
        wait_until_ready(service)
        assert service.get("/predict", body(records[0]))[0] == 200
        assert metrics(service)['http_requests_total{route="/predict",status="200"}'] == 1
    finally:
        process.terminate()
        process.wait()


def test_a_request_keeps_its_name(both: tuple[Service, Service], records: list[bytes]) -> None:
    """X-Request-ID and traceparent come back; without one the service makes a name, a new one each time."""
    body = b'{"instances":[' + records[0] + b"]}"
    for service in both:
        for path in ("/predict", "/nope"):
            _, fields, _ = ask(service, "POST", path, body, {})
            assert {("x-request-id", ID["X-Request-ID"]), ("traceparent", ID["traceparent"])} <= set(fields)  # type: ignore[call-overload]
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        names = set()
        for _ in range(3):
            connection.request("POST", "/predict", body, {"X-Request-ID": "not a\tname"})
            answer = connection.getresponse()
            answer.read()
            names.add(answer.headers["X-Request-ID"])
        connection.close()
        assert len(names) == 3
        assert "not a\tname" not in names


def lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@pytest.mark.parametrize("arguments", [(), PLAIN], ids=["event loop", "plain WSGI"])
def test_the_access_log(serve: Callable[..., Service], records: list[bytes], arguments: tuple[str, ...]) -> None:
    """A line of JSON for each request, or for those that went wrong, with the name that the client knows it by."""
    body = b'{"instances":[' + records[0] + b"]}"
    expected = {"all": [("/predict", 200, 1), ("/predict", 400, 0), ("/nope", 404, 0)]}
    expected |= {"errors": expected["all"][1:], "off": []}
    for which, wanted in expected.items():
        service = serve(*arguments, MLOPS_SERVING__ACCESS_LOG=which, WEB_CONCURRENCY="1")
        for path, data in (("/predict", body), ("/predict", b"{"), ("/nope", b"{}"), ("/readyz", b"{}")):
            ask(service, "POST", path, data, {})
        logged = lines(service.log)
        assert any(line["path"] == "/readyz" for line in logged) == (which == "all")
        found = [line for line in logged if line["path"] != "/readyz"]
        assert [(line["path"], line["status"], line["rows"]) for line in found] == wanted
        assert all(line["request_id"] == "a-request" and line["traceparent"] == ID["traceparent"] for line in found)
        assert all(isinstance(line["ms"], float) and line["method"] == "POST" for line in found)


@pytest.mark.parametrize("arguments", [(), PLAIN], ids=["event loop", "plain WSGI"])
def test_spans(serve: Callable[..., Service], records: list[bytes], arguments: tuple[str, ...]) -> None:
    """Where OpenTelemetry is asked for, each request is a span below the client's own."""
    service = serve(*arguments, OTEL_TRACES_EXPORTER="console", WEB_CONCURRENCY="1")
    ask(service, "POST", "/predict", b'{"instances":[' + records[0] + b"]}", {})
    service.process.terminate()
    service.process.wait(HANGS)
    log = service.log.read_text()
    spans = [json.loads("{" + part.partition("\n}")[0] + "}") for part in log.split("\n{")[1:] if '"trace_id"' in part]
    (span,) = [span for span in spans if span["name"] == "POST /predict"]
    assert span["context"]["trace_id"] == "0x0af7651916cd43dd8448eb211c80319c"
    assert span["parent_id"] == "0xb7ad6b7169203331"
    assert span["attributes"] == {
        "http.request.method": "POST",
        "url.path": "/predict",
        "model.rows": 1,
        "http.response.status_code": 200,
        "request.id": "a-request",
    }


def test_spans_that_nobody_can_send(serve: Callable[..., Service]) -> None:
    """Asked for without the packages, or in a way that is not known: one line says what to do."""
    service = serve(wait=False, OTEL_TRACES_EXPORTER="zipkin", WEB_CONCURRENCY="1")
    assert service.process.wait(HANGS) == 3
    assert "Cannot serve: OTEL_TRACES_EXPORTER=zipkin" in service.log.read_text()
