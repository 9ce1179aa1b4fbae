"""What orchestrators and people ask a service: is it alive, is it ready, which model is it."""

from collections.abc import Callable

from serving.protocols.routes import Model, Route, constant
from serving.protocols.schema import TEXT, fields
from serving.replies import JSON, Reply, as_json

ABOUT = "about"
STATUS = fields(status=TEXT)
READY = Reply(200, JSON, b'{"status":"ready"}')


def routes(model: Model) -> list[Route]:
    return [
        constant("/livez", Reply(200, JSON, b'{"status":"alive"}'), "Whether the service is alive", ABOUT, STATUS),
        constant("/readyz", READY, "Whether the service is ready", ABOUT, STATUS),
        constant("/model", as_json(model.card), "The card of the model", ABOUT),
    ]


def scrape(exposition: Callable[[], Reply]) -> Route:
    """GET /metrics, which takes too long for an event loop."""
    return Route("GET", "/metrics", lambda *_: exposition(), -1, "Counts for Prometheus", ABOUT, TEXT, "text/plain")
