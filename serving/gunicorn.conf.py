"""gunicorn, from pipeline.toml and the environment: HOST, PORT or AIP_HTTP_PORT, WEB_CONCURRENCY, THREADS."""

import contextlib
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path

FILES = 65_536  # a connection is one, and shells allow 1,024
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
most = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
if soft != resource.RLIM_INFINITY and soft < most:
    with contextlib.suppress(OSError, ValueError):  # macOS allows fewer than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

root = Path(__file__).parent.parent
sys.path[:0] = [str(root), str(root / "src")]
shared_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  files that never touch a disk

# Read by the libraries when a worker imports them: one thread each, since the workers are the parallelism.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would send what it does to its makers
os.environ["METRICS_FOLDER"] = tempfile.mkdtemp(prefix="metrics-", dir=shared_memory)

from pipeline.bundle import BundleError  # noqa: E402
from pipeline.settings import load_settings  # noqa: E402
from serving import address, cpu, faults, predictor  # noqa: E402
from serving.http import balance  # noqa: E402
from serving.observe import metrics  # noqa: E402

model_threads = int(os.environ.get("THREADS") or 0)  # of each worker, for large batches and slow models
wsgi_app, worker_class = f"serving.http.asgi:create_app({model_threads})", "serving.http.worker.Worker"
try:
    bind = address.bind(os.environ)
    delay = address.shutdown_delay(os.environ)
except ValueError as error:
    print(f"Cannot serve: {error}.", file=sys.stderr)
    sys.exit(3)
workers = int(os.environ.get("WEB_CONCURRENCY") or cpu.available())
worker_tmp_dir = shared_memory  # the heartbeat: on a slow disk it would stall the worker
control_socket_disable = True  # it would be written to the home directory
timeout = 30
graceful_timeout = 4 + delay  # seconds that requests under way have after SIGTERM
keepalive = 75  # longer than the idle time-out of usual load balancers, so that they close first


def on_starting(server):  # type: ignore[no-untyped-def]
    """Refuses to start, in one line, where no worker could."""
    try:
        faults.read(os.environ)
        load_settings(root)
        predictor.check(Path(os.environ.get("BUNDLE") or root / "bundle"))
    except (BundleError, ValueError) as error:
        server.log.critical("Cannot serve: %s", error)
        sys.exit(3)


def child_exit(_server, worker):  # type: ignore[no-untyped-def]
    metrics.bury(Path(os.environ["METRICS_FOLDER"]), worker.pid)
    balance.forget(worker)


def on_exit(_server):  # type: ignore[no-untyped-def]
    shutil.rmtree(os.environ["METRICS_FOLDER"], ignore_errors=True)
