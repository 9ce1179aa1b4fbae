"""Where `make tune` computes: processes of this machine, or the workers of a Dask cluster that runs already."""

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import joblib
from joblib.externals.loky import get_reusable_executor

from pipeline.bundle import sha256

ADDRESS = "DASK_SCHEDULER_ADDRESS"
PACKAGES = ("model", "pipeline", "training")  # that a worker imports
SECONDS = 10


class ClusterError(RuntimeError):
    """There is no cluster to compute on; the message says what to do."""


class Shared(NamedTuple):
    """Called by a worker, the value that all of them use; a later worker has it, too, because it lies in a file."""

    path: str  # or, on a cluster, its name in the worker's own folder

    def __call__(self) -> Any:
        return _loaded(self.path)


class Workers(NamedTuple):
    where: str
    submit: Callable[..., "Future[Any]"]
    shared: Shared


@contextmanager
def workers(backend: str, root: Path, shared: Any) -> Iterator[Workers]:
    """They compute for as long as the block runs, and each has `shared`. Raises ClusterError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"shared-{uuid4().hex}")
        joblib.dump(shared, path)
        with _here(path) if backend == "local" else _there(path, root) as found:
            yield found


@contextmanager
def _here(path: Path) -> Iterator[Workers]:
    cpus = joblib.cpu_count()
    executor = get_reusable_executor(max_workers=cpus)
    try:
        yield Workers(f"on {cpus} CPUs", executor.submit, Shared(str(path)))
    except BrokenExecutor as error:
        raise ClusterError(f"a process of the search died, as for want of memory: {error}") from error
    finally:
        executor.shutdown(wait=True, kill_workers=True)


@contextmanager
def _there(path: Path, root: Path) -> Iterator[Workers]:
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
    with client:
        known = client.scheduler_info(n_workers=-1)["workers"]
        if not known:
            raise ClusterError(f"the scheduler of Dask at {address} has no workers")
        _send(client, root, path.parent)
        client.upload_file(str(path), load=False)
        where = f"on {len(known)} workers of Dask at {address}"
        try:
            yield Workers(where, client.get_executor(pure=False).submit, Shared(path.name))
        except (KilledWorker, CancelledError, TimeoutError) as error:
            raise ClusterError(f"Dask at {address} gave up: {error}") from error


@lru_cache(maxsize=1)
def _loaded(name: str) -> Any:
    path = Path(name)
    if not path.is_absolute():
        from distributed import get_worker  # noqa: PLC0415  only who has a cluster has it

        path = Path(get_worker().local_directory, name)
    return joblib.load(path, mmap_mode="r")


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
