"""Who is measured: this service, what its users would otherwise pick, and what no service could be faster than.

All answer the same record with the same trees, on as many workers as there are CPUs, with one thread each, unless the
name says otherwise. Peers are set up as their quick starts say, in environments of their own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

SKLEARN = ["joblib", "msgspec", "pandas", "scikit-learn=={sklearn}"]
GUNICORN = ["{python}", "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "error"]
WORKERS = [*GUNICORN, "--workers", "{workers}"]
UVICORN = ["{python}", "-m", "uvicorn", "--port", "{port}", "--workers", "{workers}", "--no-access-log"]
UVICORN += ["--log-level", "error"]
SERVICE = ["{python}", "-m", "gunicorn", "--config", "{root}/serving/gunicorn.conf.py"]
MLFLOW = ["{bin}/mlflow", "models", "serve", "--env-manager", "local", "--model-uri", "{mlflow}"]
APPS = "benchmarks.serving.apps"


class Server(NamedTuple):
    command: list[str]
    needs: tuple[str, ...]  # packages of its own environment
    more: Mapping[str, str] = MappingProxyType({})  # environment variables
    path: str = "/predict"
    form: str = "instances"  # of the body
    threads: str = "1"  # OMP_NUM_THREADS; empty: the libraries' own


FASTAPI = ("fastapi", "flask", "uvicorn[standard]", "onnxruntime=={onnxruntime}", *SKLEARN)
FLASK = ("flask", "gunicorn", *SKLEARN)
SERVE = ("--requirements", "requirements/serve.txt")  # what the image holds
OURS, TUTORIAL, FLOOR = "this service", "the tutorial's way", "Flask, a constant"
BY_SKLEARN = "this service, by scikit-learn"
AS_WRITTEN = "the tutorial's way, gunicorn's defaults"
OWN_FASTAPI, OWN_PYDANTIC = "FastAPI, this service's predictor, no validation", "FastAPI, the same session, pydantic"
BARE = "bare ASGI, a constant, gunicorn's asgi worker"
SERVERS: dict[str, Server] = {
    OURS: Server(SERVICE, SERVE),
    BY_SKLEARN: Server(
        SERVICE, ("--requirements", "requirements/serve-sklearn.txt"), more={"BUNDLE": "{sklearn_bundle}"}
    ),
    TUTORIAL: Server([*WORKERS, f"{APPS}.tutorial:app"], FLASK),
    AS_WRITTEN: Server([*GUNICORN, f"{APPS}.tutorial:app"], FLASK, threads=""),
    "FastAPI": Server([*UVICORN, f"{APPS}.fastapi_sklearn:app"], FASTAPI),
    "MLflow's scoring server": Server(
        [*MLFLOW, "--port", "{port}", "--workers", "{workers}"],
        ("mlflow=={mlflow_version}", "skops", *SKLEARN),
        path="/invocations",
        form="dataframe_records",
    ),
    "BentoML": Server(
        ["{bin}/bentoml", "serve", f"{APPS}.bento:Model", "--port", "{port}", "--host", "127.0.0.1"],
        ("bentoml", *SKLEARN),
    ),
    "LitServe": Server(["{python}", "-m", f"{APPS}.lit"], ("litserve", *SKLEARN)),
    "MLServer": Server(
        ["{bin}/mlserver", "start", "{scratch}"],
        ("mlserver", "mlserver-sklearn", "uvloop<0.22", *SKLEARN),  # its workers want what later ones took away
        more={
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_PARALLEL_WORKERS": "{workers}",
            "MLSERVER_METRICS_DIR": "{scratch}",
        },
        path="/v2/models/model/infer",
        form="pandas",
    ),
    OWN_PYDANTIC: Server([*UVICORN, f"{APPS}.fastapi_onnx:app"], FASTAPI),
    OWN_FASTAPI: Server([*UVICORN, f"{APPS}.fastapi_ours:app"], FASTAPI),
    FLOOR: Server([*WORKERS, f"{APPS}.floors:flask"], SERVE),
    "FastAPI, a constant": Server([*UVICORN, f"{APPS}.floor_fastapi:app"], FASTAPI),
    "bare WSGI, a constant": Server([*WORKERS, f"{APPS}.floors:wsgi"], SERVE),
    BARE: Server([*WORKERS, "--worker-class", "asgi", f"{APPS}.floors:asgi"], SERVE),
    "bare ASGI, a constant, uvicorn[standard]": Server([*UVICORN, f"{APPS}.floors:asgi"], FASTAPI),
}


def body(form: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """A request for these records, as a server wants it."""
    if form != "pandas":
        return {form: records}
    inputs = []
    for name, first in records[0].items():
        text = isinstance(first, str)
        tensor = {"name": name, "shape": [len(records)], "datatype": "BYTES" if text else "FP64"}
        content = {"parameters": {"content_type": "str"}} if text else {}
        inputs.append(tensor | content | {"data": [record[name] for record in records]})
    return {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": [{"name": "predict_proba"}]}


class Target(NamedTuple):
    """What is promised of one server beside another, for one record and 8 connections."""

    server: str
    figure: str
    sign: str
    ratio: float
    other: str
    load: str = "8"


TARGETS = [
    Target(OURS, "rps", ">=", 2.2, FLOOR),
    Target(OURS, "p95", "<=", 0.7, FLOOR),
    Target(OURS, "rps", ">=", 1.2, OWN_FASTAPI),
    Target(OURS, "rps", ">=", 1.9, OWN_PYDANTIC),
    Target(OURS, "rps", ">=", 80.0, AS_WRITTEN),
    Target(OURS, "rps", ">=", 0.6, BARE),
    Target(OURS, "rps", ">=", 0.9, FLOOR, load="close"),
    Target(BY_SKLEARN, "rps", ">=", 1.2, TUTORIAL),
]
