"""Searches for better parameters of `build`, in the `space` beside it.

    make tune [TRIALS=40]
    python -m training.tune [--trials 40]

Cross-validated on the rows that are learned from; the held-out ones stay unseen. Successive halving: all candidates on
few rows, a third of them on three times as many, and so on (Jamieson and Talwalkar, AISTATS 2016), since scikit-learn's
HalvingRandomSearchCV cannot say how far it is. The best one is then compared with `build` as it is, on other folds; by
time there is only one way to part the rows. MLflow has a run of it all, and below that one for each candidate.

Exit code 0: done, whatever was found; 3: could not run, and the last line says why.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME
from rich.markup import escape
from rich.table import Table
from sklearn.base import clone
from sklearn.model_selection import ParameterSampler

from pipeline import command
from pipeline.columns import DeriveError
from pipeline.labels import Labelled, fit_classifier
from pipeline.schema import METRICS, Settings
from pipeline.settings import SettingsError, load_settings
from training import registry
from training.dataset import read
from training.fit import ESTIMATOR, EstimatorError, blamed, built
from training.progress import console, note, under_way
from training.quality.metrics import rarest
from training.source.rows import DataError
from training.tune import cluster
from training.tune.cluster import ClusterError, Workers
from training.tune.score import Score
from training.tune.search import Candidate, Rows, folds_of, halved, rows_of, scores, space_of
from training.warned import noted

TRIALS = 40
TRIED = 2000  # rows on which it is seen whether `build` can be fitted at all
AROUND = "estimator__"  # what scikit-learn calls the parameters of what a Labelled holds


class Found(NamedTuple):
    parameters: dict[str, Any]
    sign: int  # of the metric: 1 where more is better
    before: np.ndarray  # (folds,): the score of build() as it is, more is better
    after: np.ndarray  # (folds,): of the best candidate, on the same folds

    @property
    def better(self) -> bool:
        """In all folds but one, at least."""
        return self.won >= len(self.before) - 1

    @property
    def won(self) -> int:
        return int((self.after > self.before).sum())

    @property
    def values(self) -> tuple[float, float]:
        """The metric, before and after."""
        return float(self.sign * self.before.mean()), float(self.sign * self.after.mean())


def search(settings: Settings, rows: Rows, workers: Workers, trials: int, client: MlflowClient, run_id: str) -> Found:
    """The best candidate beside build(). Raises EstimatorError."""
    data, seed = settings.data, settings.training.seed
    estimator = built(data.task, seed)
    space = space_of(data.task, estimator)
    sign = 1 if METRICS[data.task][settings.quality.metric] else -1
    positive = "" if data.task == "regression" else data.positive or rarest(rows.target)
    score = Score(settings.quality.metric, sign, positive)
    around = ""
    with blamed("fit()"):
        few = np.random.default_rng(seed).permutation(len(rows.target))[:TRIED]
        table, target = rows.table.iloc[few], rows.target[few]
        if data.task == "regression":
            clone(estimator).fit(table, target)
        elif isinstance(fit_classifier(clone(estimator), table, target), Labelled):
            estimator, around = Labelled(estimator), AROUND
    folds = list(folds_of(data, rows, seed).split(rows.table, rows.target, rows.groups))
    candidates = [
        Candidate({around + name: value for name, value in each.items()})
        for each in ParameterSampler(space, trials, random_state=seed)
    ]
    best = halved(estimator, candidates, workers, folds, score, np.random.default_rng(seed))
    parameters = {name.removeprefix(around): value for name, value in best.parameters.items()}
    log(client, run_id, score, candidates, around)
    better = clone(estimator).set_params(**best.parameters)
    other = list(folds_of(data, rows, seed + 1).split(rows.table, rows.target, rows.groups))
    both, problem = scores("compare the best one with build()", [estimator, better], workers, other, score)
    if problem:
        raise EstimatorError(f"{ESTIMATOR}: build() or the best candidate cannot be fitted on all rows: {problem}")
    return Found(parameters, sign, *both)


def log(client: MlflowClient, run_id: str, score: Score, candidates: Sequence[Candidate], around: str) -> None:
    """A run for each candidate, below the run of it all: as it did in the last round that it was in."""
    experiment, now = client.get_run(run_id).info.experiment_id, int(1000 * time.time())
    for number, each in enumerate(candidates, 1):
        tags = {MLFLOW_PARENT_RUN_ID: run_id, MLFLOW_RUN_NAME: f"candidate {number}"}
        child = client.create_run(experiment, tags=tags).info.run_id
        values = {score.metric: score.sign * each.values.mean(), f"{score.metric}_std": each.values.std()}
        known = [Metric(name, float(value), now, 0) for name, value in values.items() if np.isfinite(value)]
        known.append(Metric("rows", each.rows, now, 0))
        parameters = {name.removeprefix(around): value for name, value in each.parameters.items()}
        client.log_batch(child, known, [Param(name, str(value)[:500]) for name, value in parameters.items()])
        client.set_terminated(child)


def told(settings: Settings, rows: Rows, found: Found, present: Mapping[str, Any]) -> None:
    """What was found, and what to do."""
    metric, (before, after) = settings.quality.metric, found.values
    won, folds = found.won, len(found.before)
    if not found.better:
        console.print(
            f"Nothing better was found: {metric} is {before:.4g} with build() as it is, and {after:.4g} with the best "
            f"candidate, which is better in {won} of {folds} folds."
        )
        return
    console.print(
        f"[bold]{metric} {before:.4g} -> {after:.4g}[/bold], better in {won} of {folds} folds of {len(rows.target):,} "
        f"rows. Put these into build() of {ESTIMATOR}, then: make train"
    )
    table = Table("parameter of build()", "now", "better", box=None)
    for name, value in found.parameters.items():
        as_text = f"{value:.4g}" if isinstance(value, float) else str(value)
        table.add_row(escape(name), escape(str(present.get(name, ""))), escape(as_text))
    console.print(table)


def tune(settings: Settings, root: Path, trials: int) -> None:
    """All of it, in the project `root`. Raises what main names."""
    client = registry.connect(settings.project.name)
    with under_way("read the data") as say:
        dataset = read(settings.data, settings.training.holdout, say)
    note(dataset.notes)
    with under_way("derive the columns"):
        rows = rows_of(settings.data, dataset)
    present = built(settings.data.task, settings.training.seed).get_params()
    with (
        cluster.workers(settings.training.backend, root, rows) as workers,
        registry.run(settings.project.name, registry.git_sha(root)) as run_id,
    ):
        mlflow.set_tags({MLFLOW_RUN_NAME: "tune", "tuned": workers.where})
        console.print(f"Searching {workers.where}, on {len(rows.target):,} rows.")
        found = search(settings, rows, workers, trials, client, run_id)
        mlflow.log_params({name: str(value)[:500] for name, value in found.parameters.items()})
        metric = settings.quality.metric
        mlflow.log_metrics(dict(zip((f"{metric}_before", metric), found.values, strict=True)))
    told(settings, rows, found, present)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.tune", description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=TRIALS, help=f"candidates in the first round; {TRIALS}")
    arguments = parser.parse_args(argv)
    if arguments.trials < 1:
        parser.error("--trials: one candidate at least")
    try:
        with noted(lambda warning: console.print(f"  [yellow]Note:[/yellow] {escape(warning)}")):
            tune(load_settings(), Path.cwd(), arguments.trials)
    except (SettingsError, DataError, DeriveError, EstimatorError, ClusterError, MlflowException) as error:
        console.print(f"[red]Cannot tune:[/red] {escape(registry.complaint(error))}")
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
