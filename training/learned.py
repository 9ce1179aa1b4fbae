"""Which rows a version has learned from: two versions are compared on rows that neither knows.

The split goes by a hash of the row, so a new column of the file moves every row. Then a champion would be asked for
rows that it was fitted on, and no candidate could beat it.
"""

import tempfile
from pathlib import Path
from typing import Any

import mlflow
import mlflow.artifacts
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

ARTIFACT = "learned.npz"
Array = np.ndarray[Any, Any]


def prints(frame: pd.DataFrame, target: pd.Series) -> Array:
    """A number for each row, (rows,) of uint32: equal ones are of equal cells, but for one in a thousand million."""
    cells = frame[sorted(map(str, frame))].assign(**{"\0target": target})
    hashes = pd.util.hash_pandas_object(cells, index=False).to_numpy(np.uint64)
    return (hashes >> np.uint64(32)).astype(np.uint32)


def news(theirs: Array, ours: Array) -> str:
    """What one version has learned from that another had not, and the other way round; empty: the same."""
    more, gone = int((~np.isin(ours, theirs)).sum()), int((~np.isin(theirs, ours)).sum())
    if not more and not gone:
        return ""
    return f"{more:,} rows to learn from are new, {gone:,} are gone"


def shared(of_rows: Array, is_held_out: Array, least: float = 0.0) -> str:
    """That rows are held out that stand in the training part as well; empty where it is no more than a share."""
    held_out = of_rows[is_held_out]
    twice = int(np.isin(held_out, of_rows[~is_held_out]).sum())
    if twice <= least * len(held_out):
        return ""
    return f"{twice:,} of {len(held_out):,} held-out rows equal one that is learned from, in all that the model is told"


def log(of_rows: Array) -> None:
    """Logs the rows of the training part with the run: about two bytes a row."""
    steps = np.diff(np.sort(of_rows), prepend=np.uint32(0))
    with tempfile.TemporaryDirectory() as folder:
        np.savez_compressed(path := Path(folder, ARTIFACT), steps=steps)
        mlflow.log_artifact(str(path))


def load(run_id: str) -> Array | None:
    """Those of a version's run; None where it has none, as of an older release of the template."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=ARTIFACT, dst_path=folder)
            with np.load(path) as file:
                return np.cumsum(file["steps"], dtype=np.uint32)
    except (MlflowException, OSError, ValueError, KeyError):
        return None
