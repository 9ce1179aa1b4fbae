"""For people with a browser: the model's page with a form, and the description of all requests."""

from pathlib import Path

from serving.protocols.routes import Routes
from serving.replies import Reply, as_json

FOLDER = Path(__file__).parents[1] / "page"
MEDIA = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Nothing from elsewhere, no inline script, no frame around it: what a record or a class is called cannot run.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = ((b"content-security-policy", POLICY), (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-cache"))


def routes(description: object, page: bool) -> Routes:
    """The description, and where `page` is set the pages that show it."""
    table: Routes = {("GET", "/openapi.json"): as_json(description)}
    if page:
        table["GET", "/"] = _file("index.html")
        table["GET", "/docs"] = _file("docs.html")
        for name in ("page.css", "form.js", "docs.js"):
            table["GET", f"/page/{name}"] = _file(name)
    return table


def _file(name: str) -> Reply:
    path = FOLDER / name
    return Reply(200, f"{MEDIA[path.suffix]}; charset=utf-8", path.read_bytes(), 0, SAFE)
