"""serving.http: connections that do what clients should not, many at once, and the end of a worker."""

import contextlib
import http.client
import json
import os
import re
import resource
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.http import balance
from tests.engine.serving.conftest import HANGS, Service
from tests.engine.serving.replacement import CLIENTS, replace

Serve = Callable[..., Service]
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\n"


def body(record: bytes) -> bytes:
    return b'{"instances":[' + record + b"]}"


def whole(data: bytes, more: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n" % len(data) + data


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=HANGS)


def read_all(client: socket.socket) -> bytes:
    """Until the service closes."""
    received = b""
    while chunk := client.recv(65_536):
        received += chunk
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", received)]


def test_a_connection_serves_many_requests(serve: Serve, records: list[bytes]) -> None:
    """Kept alive, pipelined, in pieces of one byte, through either way of answering: in order, all of them."""
    service = serve(WEB_CONCURRENCY="1")
    one, other = whole(body(records[0])), b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n"
    large = whole(b'{"instances":[' + b",".join([records[0]] * 100) + b"]}")
    stream = one + other + one + one + large + one + other
    last = HEAD.replace(b"POST /predict", b"GET /livez") + b"Connection: close\r\n\r\n"
    for size in (len(stream), 1, 7, 1000):
        with connect(service) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = (stream if size > 1 else one + other + one) + last
            for start in range(0, len(data), size):
                client.sendall(data[start : start + size])
            received = read_all(client)
        wanted = [200, 404, 200, 200, 200, 200, 404, 200] if size > 1 else [200, 404, 200, 200]
        assert statuses(received) == wanted, size
        assert received.count(b"\r\nconnection: close\r\n") == 1


@pytest.mark.parametrize("wrong", [b"GARBAGE\r\n\r\n", b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"])
def test_what_is_no_request_takes_no_answer_from_the_one_before(
    serve: Serve, records: list[bytes], wrong: bytes
) -> None:
    """RFC 9112, 9.3.2: answers come in the order of the requests, whoever answers; then the connection ends."""
    service = serve(WEB_CONCURRENCY="1")
    slow = whole(b'{"instances":[' + b",".join([records[0]] * 900) + b"]}")
    for good in ([slow], [slow, slow], [whole(body(records[0])), slow], [b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"]):
        with connect(service) as client:
            client.sendall(b"".join(good) + wrong + whole(body(records[0])))
            assert statuses(read_all(client)) == [200] * len(good) + [400]


def test_half_a_head_is_not_waited_for(serve: Serve, records: list[bytes]) -> None:
    """408 after head_seconds, on a new connection and on a kept one; one that says nothing is closed."""
    service = serve(WEB_CONCURRENCY="1", MLOPS_SERVING__HEAD_SECONDS="1")
    with connect(service) as silent, connect(service) as new, connect(service) as kept:
        new.sendall(HEAD)
        kept.sendall(whole(body(records[0])) + HEAD)
        assert read_all(silent) == b""
        for client, wanted in ((new, [408]), (kept, [200, 408])):
            received = read_all(client)
            assert statuses(received) == wanted
            assert b"the head took more than 1 s to arrive" in received


def test_half_a_body_is_not_waited_for(serve: Serve, records: list[bytes]) -> None:
    """408 after body_seconds, however the bytes drip, or not one; meanwhile the worker answers others as ever."""
    service = serve(WEB_CONCURRENCY="1", MLOPS_SERVING__BODY_SECONDS="1.5")
    slow = [connect(service) for _ in range(100)]
    silent = [connect(service) for _ in range(3)]
    for client in slow:
        client.sendall(HEAD + b"Content-Length: 100000\r\n\r\n{")
    for client, path in zip(silent, (b"/predict", b"/nope", b"/docs"), strict=True):
        client.sendall(HEAD.replace(b"/predict", path) + b"Content-Length: 5\r\n\r\n")
    others = 0
    while not select.select(slow + silent, [], [], 0)[0]:
        assert service.get("/predict", body(records[0]))[0] == 200
        others += 1
        for client in slow if others < 10 else ():  # long before they are answered: what comes later resets them
            client.sendall(b" ")
    assert others > 1  # answered before the first of the slow ones was
    for client in slow + silent:
        received = read_all(client)
        assert statuses(received) == [408]
        assert b"the body took more than 1.5 s to arrive" in received
        client.close()


def resident(process: int) -> int:
    """Memory of a process, in kB."""
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def test_large_bodies_wait_in_bounded_memory(serve: Serve, records: list[bytes]) -> None:
    """300 clients that keep back the last byte of a megabyte, and three of 60: most get 503 or 413, none the memory."""
    service = serve(WEB_CONCURRENCY="1", MLOPS_SERVING__BODY_SECONDS="8")
    (worker,) = service.workers()
    before = resident(worker)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(303)]
        for number, client in enumerate(clients):
            size = 1_000_000 if number < 300 else 60_000_000
            client.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size + b" " * (size - 1))
        with connect(service) as small:  # so that nothing of it waits
            small.sendall(whole(body(records[0]), b"Connection: close\r\n"))
            assert statuses(read_all(small)) == [200]
        assert resident(worker) - before < 80_000
        for client in clients:
            client.sendall(b" ")
        answers = [statuses(read_all(client)) for client in clients]
    assert answers[300:] == [[413]] * 3
    assert {status for answer in answers[:300] for status in answer} == {400, 503}  # blanks are no JSON
    assert service.get("/predict", b'{"instances":[' + b",".join([records[0]] * 1000) + b"]}")[0] == 200


def test_a_head_without_end_is_refused(serve: Serve) -> None:
    """431 after 64 kB."""
    service = serve(WEB_CONCURRENCY="1")
    with connect(service) as client:
        client.sendall(HEAD + (b"X-Filler: " + b"x" * 1000 + b"\r\n") * 66)
        assert statuses(read_all(client)) == [431]


@pytest.mark.parametrize("more", [b"X-A: a\r\n", b"X"], ids=["fields", "one field"])
def test_trailers_without_end_are_refused(serve: Serve, more: bytes) -> None:
    """431 after 64 kB of what is no body, and none of it is kept meanwhile."""
    service = serve(WEB_CONCURRENCY="1", MLOPS_SERVING__BODY_SECONDS="30")
    (worker,) = service.workers()
    before = resident(worker)
    with connect(service) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
        with contextlib.suppress(OSError):  # the service has answered, and closed
            for _ in range(400):
                client.sendall(more * (100_000 // len(more)))
        assert resident(worker) - before < 10_000
        with contextlib.suppress(ConnectionResetError):
            assert statuses(read_all(client)) == [431]


def test_trailers_are_no_fields_of_the_head(serve: Serve, records: list[bytes]) -> None:
    """Whatever they say, the answer's name is the one that the head asked for."""
    service = serve(WEB_CONCURRENCY="1")
    data = body(records[0])
    chunked = b"%x\r\n%b\r\n0\r\nX-Request-ID: trailer\r\n\r\n" % (len(data), data)
    fields = b"X-Request-ID: head\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(service) as client:
        client.sendall(HEAD + fields + chunked)
        received = read_all(client)
    assert statuses(received) == [200]
    assert b"\r\nx-request-id: head\r\n" in received


def test_a_client_that_asks_and_never_reads(serve: Serve, records: list[bytes]) -> None:
    """Its answers wait in bounded memory, and others are served."""
    service = serve(WEB_CONCURRENCY="1")
    (worker,) = service.workers()
    with connect(service) as greedy:
        greedy.settimeout(2)
        with contextlib.suppress(OSError):  # the service no longer reads, or has closed
            for _ in range(20_000):
                greedy.sendall(whole(body(records[0])) * 10)
        assert service.get("/predict", body(records[0]))[0] == 200
        assert resident(worker) < 300_000


def test_an_answer_that_nobody_reads_is_dropped(serve: Serve, records: list[bytes]) -> None:
    """However much the client goes on to send; its connection is gone after three times body_seconds."""
    service = serve(WEB_CONCURRENCY="1", MLOPS_SERVING__BODY_SECONDS="0.5")
    for request_ in (whole(body(records[0])), whole(b"{}"), HEAD.replace(b"POST /predict", b"GET /docs") + b"\r\n"):
        with connect(service) as greedy:
            greedy.settimeout(0.5)
            until = time.monotonic() + HANGS
            with pytest.raises(ConnectionError):
                while time.monotonic() < until:
                    with contextlib.suppress(TimeoutError):
                        greedy.sendall(request_ * 10)


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: 5, 6\r\n\r\nhello",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: +5\r\n\r\nhello",
        HEAD + b"Content-Length: 0x5\r\n\r\nhello",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
        HEAD + b"Content-Length : 5\r\n\r\nhello",
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        HEAD + b" folded: x\r\n\r\n",
        HEAD + b"Connection: upgrade\r\nuPGRaDE: h2c\r\nContent-Length: 32\r\n\r\n",
        HEAD + b"X\x00Y: 1\r\n\r\n",
        HEAD + b"X: a\rContent-Length: 3\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;x\nhello\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"POST /predict HTTP/1.1\nHost: x\n\n",
        b"POST /predict\r\n\r\n",
        b"POST /predict HTTP/3.7\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda data: repr(data.replace(HEAD, b"... "))[2:60],
)
def test_what_two_servers_could_read_in_two_ways_is_refused(smuggled: Service, request_: bytes) -> None:
    """A second request hides in what proxy and service disagree on, so such requests end their connection."""
    hidden = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(smuggled) as client:
        client.sendall(request_ + hidden)
        client.shutdown(socket.SHUT_WR)
        received = read_all(client)
    assert b"alive" not in received
    assert statuses(received) in ([400], [501])
    assert smuggled.get("/readyz")[0] == 200


@pytest.fixture(name="smuggled", scope="module")
def _smuggled(serve_module: Serve) -> Service:
    return serve_module(WEB_CONCURRENCY="1")


@pytest.mark.parametrize(
    "target", ["//predict", "///predict?a=//b", "/predict/", "//predict//?a", "/predict", "http://x/predict"]
)
def test_slashes_at_the_end_and_more_than_one(smuggled: Service, records: list[bytes], target: str) -> None:
    """A base URL with a slash at its end, a path with one at its beginning, and one at its end."""
    with connect(smuggled) as client:
        client.sendall(whole(body(records[0])).replace(b"/predict", target.encode(), 1))
        client.shutdown(socket.SHUT_WR)
        assert statuses(read_all(client)) == [200]


@pytest.mark.parametrize(
    "target", ["//", "//v2/models/loans/infer", "//invocations/", "/%2f", "/%00", "/..//", "/ä", "//@:0/", "/" * 5000]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "BREW"])
def test_no_path_is_a_fault_of_the_service(smuggled: Service, method: str, target: str) -> None:
    """Whatever is asked for, the client is told that it is its own mistake."""
    with connect(smuggled) as client:
        client.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        client.shutdown(socket.SHUT_WR)
        (status,) = statuses(read_all(client))
    assert status < 500


def test_the_server_as_a_whole_says_its_methods(smuggled: Service) -> None:
    """OPTIONS * is what some load balancers check with."""
    with connect(smuggled) as client:
        client.sendall(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        received = read_all(client)
    assert statuses(received) == [204, 200]
    assert b"allow: GET, HEAD, OPTIONS, POST\r\n" in received


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nhost: a\r\n"])
def test_a_request_names_one_host(smuggled: Service, hosts: bytes) -> None:
    """RFC 9112, 3.2; HTTP/1.0 need not."""
    head = b"GET /livez HTTP/1.1\r\n%s\r\n" % hosts
    for old, expected in ((False, 400), (True, 400 if hosts else 200)):
        with connect(smuggled) as client:
            client.sendall(head.replace(b"1.1", b"1.0") if old else head)
            client.shutdown(socket.SHUT_WR)
            received = read_all(client)
        assert statuses(received) == [expected]
        assert b"called Host; there has to be one" in received or expected == 200


def test_a_client_that_has_sent_all_still_gets_its_answer(serve: Serve, records: list[bytes]) -> None:
    """Half-closed after the request."""
    service = serve(WEB_CONCURRENCY="1")
    with connect(service) as client:
        client.sendall(whole(body(records[0])))
        client.shutdown(socket.SHUT_WR)
        assert statuses(read_all(client)) == [200]


def test_old_clients(serve: Serve, records: list[bytes]) -> None:
    """HTTP/1.0: an answer, and the connection is closed."""
    service = serve(WEB_CONCURRENCY="1")
    for more in (b"", b"Connection: keep-alive\r\n"):
        with connect(service) as client:
            client.sendall(whole(body(records[0]), more).replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert statuses(read_all(client)) == [200]


def test_expect_continue(serve: Serve, records: list[bytes]) -> None:
    """The service says when it wants the body."""
    service, data = serve(WEB_CONCURRENCY="1"), body(records[0])
    with connect(service) as client:
        client.sendall(HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(data))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(data)
        assert statuses(read_all(client)) == [200]


def test_who_expects_to_go_on_is_refused_before(serve: Serve) -> None:
    """A body that is too large need not be sent."""
    service = serve(WEB_CONCURRENCY="1")
    for path in (b"/predict", b"/nope"):
        with connect(service) as client:
            head = HEAD.replace(b"/predict", path)
            client.sendall(head + b"Expect: 100-continue\r\nContent-Length: 5000000\r\n\r\n")
            received = read_all(client)
            assert statuses(received) == [413]
            assert b"connection: close" in received.lower()


def test_an_offer_of_another_protocol_is_ignored(serve: Serve, records: list[bytes]) -> None:
    """Java's HttpClient and curl --http2 offer h2c with each request, and send its body all the same."""
    service, data = serve(WEB_CONCURRENCY="1"), body(records[0])
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
    large = b'{"instances":[' + b",".join([records[0]] * 100) + b'],"x":"\r\nUpgrade: h2c\r\n"}'
    for sent in (
        whole(data, offer),
        whole(data, b"connection: upgrade\r\nupgrade: websocket\r\n"),
        whole(large, offer),
    ):
        with connect(service) as client:
            head, end, rest = sent.partition(b"\r\n\r\n")
            client.sendall(head + end + rest[:1000])
            time.sleep(0.05)
            client.sendall(rest[1000:])
            client.shutdown(socket.SHUT_WR)
            assert statuses(read_all(client)) == ([200] if sent.endswith(data) else [400])


def test_connections_are_shared_out(serve: Serve) -> None:
    """Eight at one go to two workers: each has a fair part, or the service has one worker's throughput."""
    service = serve(WEB_CONCURRENCY="2")
    least = []
    for _ in range(5):
        clients = [connect(service) for _ in range(8)]
        least.append(min(shares(service, 8)))
        for client in clients:
            client.close()
        shares(service, 0)
    assert sorted(least)[2] >= 3, least  # a worker that the machine lets wait may miss one


def shares(service: Service, wanted: int) -> list[int]:
    """The connections of each worker, as soon as all together have as many as are wanted."""
    until = time.monotonic() + HANGS
    while time.monotonic() < until:
        found = [connections_of(pid) for pid in service.workers()]
        if sum(found) == wanted:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{found} connections of the workers, {wanted} in all expected")


def test_sharing_out_does_not_keep_short_connections_waiting(serve: Serve, records: list[bytes]) -> None:
    """Clients that open one for each request get their answers from one worker, where another takes none."""
    service = serve(WEB_CONCURRENCY="2")
    stopped = service.workers()[0]
    os.kill(stopped, signal.SIGSTOP)  # so it has none, and never takes one
    kept = [connect(service) for _ in range(2)]
    try:
        for _ in range(300):
            with connect(service) as client:
                client.sendall(whole(body(records[0]), b"Connection: close\r\n"))
                assert statuses(read_all(client)) == [200]
    finally:
        os.kill(stopped, signal.SIGCONT)
    for client in kept:
        client.close()


def test_a_worker_takes_most_connections_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come: only 32 in a second wait for a worker that has fewer, and none for one that has as many."""
    now = [0.0]
    monkeypatch.setattr(balance, "monotonic", lambda: now[0])
    monkeypatch.setattr(balance, "_counts", [3, 5, balance.NOBODY])
    patience = balance.Patience()
    for now[0] in (0.0, 1.5):
        assert [patience.waits(5) for _ in range(300)] == [True] * balance.WAITS + [False] * (300 - balance.WAITS)
    now[0] = 3.0
    assert not patience.waits(3)


def connections_of(process: int) -> int:
    """How many a worker has, without the listening socket."""
    return sum(map(is_connection, Path(f"/proc/{process}/fd").iterdir())) - 1


def is_connection(descriptor: Path) -> bool:
    """A socket, of the Internet: those of the event loop to itself are of another family."""
    try:
        target = str(descriptor.readlink())
    except OSError:
        return False
    inode = target.removeprefix("socket:[").rstrip("]")
    return target.startswith("socket:") and any(
        line.split()[9] == inode for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
    )


@pytest.mark.slow
def test_thousands_of_idle_connections(serve: Serve, records: list[bytes]) -> None:
    """10,000 that say nothing: the service answers as ever, and is rid of them after head_seconds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = min(10_000, hard - 500)
    service = serve(WEB_CONCURRENCY="2", MLOPS_SERVING__HEAD_SECONDS="8")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        idle = [connect(service) for _ in range(number)]
        for _ in range(20):
            assert service.get("/predict", body(records[0]))[0] == 200
        for client in idle:
            client.settimeout(HANGS)
            assert client.recv(1) == b""
            client.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_replaced_service_fails_nobody(serve: Serve, records: list[bytes]) -> None:
    """SIGTERM under load on kept connections: each client is told with its last answer, and goes to the new one."""
    old, new = serve(WEB_CONCURRENCY="2"), serve(WEB_CONCURRENCY="2")

    def stop() -> None:
        old.process.send_signal(signal.SIGTERM)
        old.process.wait(HANGS)

    assert replace(old.port, new.port, body(records[0]), stop) == ([], CLIENTS)


def test_a_service_that_leaves_goes_on_for_a_while(serve: Serve, records: list[bytes]) -> None:
    """With SHUTDOWN_DELAY: it says that it is not ready, takes connections still, and keeps none."""
    service = serve(WEB_CONCURRENCY="2", SHUTDOWN_DELAY="2")
    kept = http.client.HTTPConnection("127.0.0.1", service.port, timeout=HANGS)
    kept.request("POST", "/predict", body(records[0]))
    assert not kept.getresponse().will_close
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    while service.get("/readyz")[0] == 200:
        assert time.monotonic() < began + 1
    for _ in range(20):  # of both workers
        assert service.get("/readyz") == (503, b'{"status":"leaving"}')
        assert service.get("/predict", body(records[0]))[0] == 200
    kept.close()
    service.process.wait(HANGS)
    assert 2 <= time.monotonic() - began < 4


def test_an_idle_service_ends_at_once(serve: Serve) -> None:
    """SIGTERM with nothing under way, SIGINT with connections open: neither waits for graceful_timeout."""
    for number, clients in ((signal.SIGTERM, 0), (signal.SIGINT, 3)):
        service = serve("--graceful-timeout", "1000", WEB_CONCURRENCY="2", MLOPS_SERVING__HEAD_SECONDS="1000")
        open_ones = [connect(service) for _ in range(clients)]
        shares(service, clients)
        service.process.send_signal(number)
        service.process.wait(HANGS)
        assert "Traceback" not in service.log.read_text()
        for client in open_ones:
            client.close()


def test_a_worker_may_be_renewed_after_so_many_requests(serve: Serve, records: list[bytes]) -> None:
    """gunicorn's own max_requests, against a leak in somebody's code: nobody is cut off."""
    service = serve(WEB_CONCURRENCY="1", GUNICORN_CMD_ARGS="--max-requests 50")
    before = service.workers()
    until = time.monotonic() + HANGS
    while service.workers() == before and time.monotonic() < until:
        status, answer = service.get("/predict", body(records[0]))
        assert status == 200
        assert json.loads(answer)["predictions"]
    assert service.workers() != before
