"""What a service says of itself: to orchestrators whether it is alive and ready, to people its card and its pages."""

import os
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from pipeline.bundle import MODEL_CARD, Card
from serving.protocols.routes import TEXT, Headers, Model, Route, constant, fields, header
from serving.replies import JSON, Reply, as_json

ABOUT = "about"
SHOWN = 500  # characters of what the environment says
STATUS = fields(status=TEXT)
SERVER = Reply(204, "text/plain", b"", 0, ((b"allow", b"GET, HEAD, OPTIONS, POST"),))
ALIVE = Reply(200, JSON, b'{"status":"alive"}')
READY = Reply(200, JSON, b'{"status":"ready"}')
LEAVING = Reply(503, JSON, b'{"status":"leaving"}')
FOLDER = Path(__file__).parents[1] / "page"
MEDIA = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Nothing from elsewhere, no inline script, no frame around it: what a record or a class is called cannot run.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = ((b"content-security-policy", POLICY), (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-cache"))


class Readiness:
    """Whether more requests shall come."""

    leaving = False

    def answer(self, _body: bytes, _headers: Headers) -> Reply:
        return LEAVING if self.leaving else READY


def routes(model: Model, folder: Path, readiness: Readiness) -> list[Route]:
    """folder: of the bundle."""
    ready = "Whether the service is ready, and not about to end"
    return [
        constant("/", ALIVE),  # KServe's client for V1
        constant("/livez", ALIVE, "Whether the service is alive", ABOUT, STATUS),
        Route("GET", "/readyz", readiness.answer, inf, ready, ABOUT, STATUS, "application/json"),
        constant("/model", as_json(card(model.card, os.environ)), "The card of the model", ABOUT),
        constant("/model-card", _for_people(folder / MODEL_CARD), "The same for people, in Markdown", ABOUT, TEXT),
        Route("OPTIONS", "*", lambda *_: SERVER, inf, "", ABOUT, {}),  # of the server: RFC 9110, 9.3.7
    ]


def card(known: Card, environment: Mapping[str, str]) -> dict[str, Any]:
    """The card, and where IMAGE says it the image: one bundle may be served by many."""
    image = environment.get("IMAGE", "").strip()[:SHOWN]
    said: dict[str, Any] = msgspec.to_builtins(known)
    return said | ({"image": image} if image else {})


def _for_people(path: Path) -> Reply:
    if path.is_file():
        return Reply(200, "text/plain; charset=utf-8", path.read_bytes())
    return Reply(404, "text/plain", b"This bundle is of an earlier release, and has no model card for people.\n")


def scrape(exposition: Callable[[], Reply]) -> Route:
    """GET /metrics, which takes too long for an event loop."""
    return Route("GET", "/metrics", lambda *_: exposition(), -1, "Counts for Prometheus", ABOUT, TEXT, "text/plain")


def pages() -> list[Route]:
    """A form for the model, and below it each request that GET /openapi.json describes. At / for browsers alone."""
    files = {"/docs": "index.html", "/page/page.css": "page.css", "/page/page.js": "page.js"}
    page = _file(files["/docs"])

    def front(_: bytes, headers: Headers) -> Reply:
        return page if "text/html" in header(headers, b"accept") else ALIVE

    return [
        Route("GET", "/", front, inf, "", ABOUT, {}),
        *(constant(path, _file(name)) for path, name in files.items()),
    ]


def _file(name: str) -> Reply:
    path = FOLDER / name
    return Reply(200, f"{MEDIA[path.suffix]}; charset=utf-8", path.read_bytes(), 0, SAFE)


class Verdict(msgspec.Struct):
    """What the page needs of verdict.json."""

    outcome: str
    headline: str
    created: str
    candidate: dict[str, Any]  # what was tested


def load_test(card: Card, environment: Mapping[str, str], reports: Path) -> str:
    """What the load test said of this very model: RELEASE of the environment, else the verdict in `reports`, if any."""
    if given := environment.get("RELEASE", "").strip():
        return given[:SHOWN]
    try:
        verdict = msgspec.json.decode((reports / "verdict.json").read_bytes(), type=Verdict)
    except (OSError, msgspec.DecodeError):
        return ""
    tested = verdict.candidate
    same = all(tested.get(key) == getattr(card, key) for key in ("bundle_sha256", "code_sha256"))
    if tested.get("faults") or not same:
        return ""
    return f"{verdict.outcome}: {verdict.headline} (load test of {verdict.created[:10]})"[:SHOWN]
