"""What orchestrators and people ask a service: is it alive, is it ready, which model is it."""

from serving.protocols.routes import Model, Routes
from serving.replies import JSON, Reply, as_json


def routes(model: Model) -> Routes:
    return {
        ("GET", "/livez"): Reply(200, JSON, b'{"status":"alive"}'),
        ("GET", "/readyz"): Reply(200, JSON, b'{"status":"ready"}'),
        ("GET", "/model"): as_json(model.card),
    }
