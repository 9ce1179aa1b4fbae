"""What src/model reaches on the data as it is now: the floor of the quality gate comes from it.

    python -m training.new.trial

Run in a folder with pipeline.toml and src/model; prints JSON. Exit code 3: it could not, and the last line says why.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from pipeline import command
from pipeline.columns import DeriveError
from pipeline.settings import SettingsError, load_settings
from training.dataset import Half, read
from training.fit import EstimatorError, answer, fit
from training.quality.metrics import Answers, metrics, rarest
from training.quality.resample import resampled
from training.source.rows import DataError

ROWS = 50_000  # that are learned from: more make a model better, and a floor is below it
JUDGED = 20_000
RESAMPLES = 100  # of the held-out rows, to see what chance does to a metric


class Trial(msgspec.Struct, frozen=True):
    metric: str
    value: float
    spread: float  # standard error, by resampling (Efron, 1979)
    rows: int  # that were judged


def beside(root: Path, texts: Mapping[str, str], csv: str) -> Trial:
    """The trial of a project as `root` would be with these files. csv: where the data lies now; empty: it is asked for.

    Raises DataError, which says why there is no model.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copytree(root / "src" / "model", folder / "src" / "model", ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        path = os.pathsep.join(map(str, (folder / "src", root, root / "src")))
        done = subprocess.run(
            [sys.executable, "-m", "training.new.trial", csv if "://" in csv or not csv else str(Path(csv).absolute())],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise DataError(f"no model comes of it: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return msgspec.json.decode(done.stdout, type=Trial)


def run(root: Path, path: str) -> Trial:
    """Fits the project's estimator and judges it on its held-out rows. Raises what training raises."""
    settings = load_settings(root, {"MLOPS_DATA__PATH": path} if path else {})
    dataset = read(settings.data, settings.training.holdout)
    training, held_out = dataset.training, dataset.held_out
    held_out = Half(held_out.frame.head(JUDGED), held_out.target.head(JUDGED))
    some = np.random.default_rng(0).permutation(len(training.frame))[:ROWS]
    part = Half(training.frame.iloc[some], training.target.iloc[some])
    pipeline = fit(settings.data.task, settings.training.seed, part, settings.training.trusted)
    _, given = answer(pipeline, held_out.frame)
    classes = [] if settings.data.task == "regression" else [str(label) for label in pipeline.classes_]
    positive = settings.data.positive or (rarest(dataset.target.to_numpy()) if classes else "")
    answers, metric = Answers(held_out.target.to_numpy(), given, classes, positive), settings.quality.metric
    values = resampled([answers], np.arange(len(given)), 0, RESAMPLES)[0][metric]
    return Trial(metric, metrics(answers)[metric], float(np.nan_to_num(np.nanstd(values))), len(given))


def main() -> int:
    try:
        print(msgspec.json.encode(run(Path.cwd(), sys.argv[1])).decode())
    except (SettingsError, DataError, DeriveError, EstimatorError) as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
