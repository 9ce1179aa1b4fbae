"""For people with a browser: the model's page with a form, and one that shows GET /openapi.json."""

from pathlib import Path

from serving.protocols.routes import Route, constant
from serving.replies import Reply

FOLDER = Path(__file__).parents[1] / "page"
MEDIA = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Nothing from elsewhere, no inline script, no frame around it: what a record or a class is called cannot run.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = ((b"content-security-policy", POLICY), (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-cache"))


def routes() -> list[Route]:
    files = ("page.css", "form.js", "docs.js")
    pages = {"/": "index.html", "/docs": "docs.html"} | {f"/page/{name}": name for name in files}
    return [constant(path, _file(name)) for path, name in pages.items()]


def _file(name: str) -> Reply:
    path = FOLDER / name
    return Reply(200, f"{MEDIA[path.suffix]}; charset=utf-8", path.read_bytes(), 0, SAFE)
