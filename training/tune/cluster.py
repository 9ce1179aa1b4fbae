"""Where `make tune` computes: processes of this machine, or the workers of a Dask cluster that runs already."""

import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from joblib import parallel_config

from pipeline.bundle import sha256

ADDRESS = "DASK_SCHEDULER_ADDRESS"
PACKAGES = ("model", "pipeline", "training")  # that a worker imports
SECONDS = 10


class ClusterError(RuntimeError):
    """There is no cluster to compute on; the message says what to do."""


@contextmanager
def workers(backend: str, root: Path, shared: Any) -> Iterator[tuple[str, Any]]:
    """For as long as the block runs, joblib computes there. Raises ClusterError.

    Gives a sentence that says where, and what a worker calls to have `shared`, which is sent to each once.
    """
    if backend == "local":
        with parallel_config(n_jobs=-1):
            cpus = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
            yield f"on {cpus} CPUs", Here(shared)
        return
    try:
        from distributed import Client, KilledWorker  # noqa: PLC0415  only who has a cluster has it
    except ModuleNotFoundError:
        raise ClusterError("Dask is not installed: make add LIBRARY=distributed GROUP=data") from None
    if not (address := os.environ.get(ADDRESS)):
        raise ClusterError(f'training.backend is "dask", and {ADDRESS} does not say where its scheduler is')
    try:
        client = Client(address, timeout=SECONDS)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no scheduler of Dask answers at {address} ({ADDRESS}): {error}") from error
    with client, tempfile.TemporaryDirectory() as folder:
        there = client.scheduler_info(n_workers=-1)["workers"]
        if not there:
            raise ClusterError(f"the scheduler of Dask at {address} has no workers")
        _send(client, root, Path(folder))
        data = Path(folder, f"shared-{uuid4().hex}")
        data.write_bytes(pickle.dumps(shared))
        client.upload_file(str(data), load=False)
        try:
            with parallel_config(backend="dask", wait_for_workers_timeout=SECONDS):
                yield f"on {len(there)} workers of Dask at {address}", There(data.name)
        except (KilledWorker, CancelledError, TimeoutError) as error:
            raise ClusterError(f"Dask at {address} gave up: {error}") from error


class Here(NamedTuple):
    value: Any

    def __call__(self) -> Any:
        return self.value


class There(NamedTuple):
    """What joblib scatters would be lost with the worker that has it; a file lies with each, and with later ones."""

    name: str

    def __call__(self) -> Any:
        return _loaded(self.name)


@lru_cache(maxsize=1)
def _loaded(name: str) -> Any:
    from distributed import get_worker  # noqa: PLC0415  only who has a cluster has it

    return pickle.loads(Path(get_worker().local_directory, name).read_bytes())  # noqa: S301  of our own search


def _send(client: Any, root: Path, scratch: Path) -> None:
    """Gives scheduler and workers the code of the project, for which they have the libraries. Raises ClusterError."""
    names = PACKAGES

    def forget() -> None:  # the code of an earlier search
        import sys  # noqa: PLC0415  there

        for name in [each for each in sys.modules if each.partition(".")[0] in names]:
            del sys.modules[name]

    def load() -> None:
        import importlib  # noqa: PLC0415  there

        importlib.import_module("training.tune.search")

    try:
        for run in (client.run, client.run_on_scheduler):
            run(forget)
        client.upload_file(str(_packed(root, scratch)))
        for run in (client.run, client.run_on_scheduler):
            run(load)
    except Exception as error:
        raise ClusterError(
            f"Dask's scheduler or workers cannot load the project ({type(error).__name__}: {error}). They need the "
            "libraries of requirements/train.txt"
        ) from error


def _packed(root: Path, scratch: Path) -> Path:
    """The code of the project, in a file that is named after what is in it, since imports are kept by name."""
    path = scratch / "project.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for folder in (root / "src", root):
            for each in sorted(each for package in PACKAGES for each in (folder / package).rglob("*")):
                name = each.relative_to(folder).as_posix()
                if each.suffix == ".py":
                    archive.writestr(zipfile.ZipInfo(name), each.read_bytes())
                elif each.is_dir() and each.name != "__pycache__":
                    archive.writestr(zipfile.ZipInfo(f"{name}/"), b"")  # imports look for it
    return path.rename(scratch / f"project-{sha256(path.read_bytes())[:12]}.zip")
