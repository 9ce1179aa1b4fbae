"""Train, evaluate, register: from the data file to a candidate in MLflow and a bundle that can be served.

    make train
    python -m training.train

Exit code 0: registered; 1: the quality gate refused the model; 3: could not run, and the last line says why.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from rich.markup import escape

from pipeline import bundle as bundles
from pipeline import command
from pipeline.columns import DeriveError
from pipeline.schema import Settings
from pipeline.settings import SettingsError, load_settings
from training import candidate, contents, evaluation, history, kept, learned, registry
from training.dataset import Dataset, read
from training.fit import EstimatorError, fit
from training.kept import Known
from training.progress import console, note, under_way
from training.quality.report import CURVES, Model
from training.source import table
from training.source.files import File
from training.source.rows import DataError
from training.verdict import slice_columns
from training.warned import noted

UNCHANGED = "Nothing that makes the model has changed"


def train(settings: Settings, root: Path, preview: str = "", force: bool = False) -> bool:
    """Runs the whole of training in the project `root`; False where the quality gate refuses the model.

    `preview`: the name of one, such as of a pull request, which leaves the alias candidate alone; or empty.
    `force`: also where the champion is made of the very same.
    """
    (root / Model.path).unlink(missing_ok=True)
    shutil.rmtree(root / CURVES, ignore_errors=True)  # a version that is kept was not drawn now
    name = settings.project.name
    with under_way("find the data"):
        found = table.find(settings.data)
        content = table.identity(found)  # empty: it has to be read first
    with under_way("connect to MLflow"):
        client = registry.connect(name)
        champion = registry.find(client, name, registry.CHAMPION)
    known = kept.known(client, name, champion, root, preview)
    if force:
        known = known._replace(versions=[])
    made_of = bundles.model_inputs(root, settings, content) if content else ""
    if made_of and kept.keep(known, kept.INPUTS, made_of, made_of, UNCHANGED):
        return True
    dataset, of_rows = _read(settings, found)
    if not made_of:
        made_of = bundles.model_inputs(root, settings, dataset.sha256)
        if kept.keep(known, kept.INPUTS, made_of, made_of, UNCHANGED):
            return True
    return _train(champion, settings, known, made_of, found, dataset, of_rows)


def _read(settings: Settings, found: Sequence[File]) -> tuple[Dataset, np.ndarray]:
    """The data, and a print of each row that is learned from."""
    with under_way("read the data") as say:
        dataset = read(settings.data, settings.training.holdout, say, settings.quality.slices, found)
        of_rows = learned.prints(dataset.frame, dataset.target)
        if twice := learned.shared(of_rows, dataset.is_held_out, least=0.01):
            dataset = dataset._replace(notes=[*dataset.notes, twice])
    note(dataset.notes)
    return dataset, of_rows[~dataset.is_held_out]


def _train(
    champion: ModelVersion | None,
    settings: Settings,
    known: Known,
    made_of: str,
    found: Sequence[File],
    dataset: Dataset,
    of_rows: np.ndarray,
) -> bool:
    """Likewise. made_of: pipeline.bundle.model_inputs; of_rows: learned.prints of those that are learned from."""
    name, data, root, git = settings.project.name, settings.data, known.root, registry.git_sha(known.root)
    columns = slice_columns(dataset, settings.quality.slices)
    with registry.run(name, git) as run_id:
        with under_way(f"fit on {int((~dataset.is_held_out).sum()):,} rows") as say:
            pipeline = fit(data.task, settings.training.seed, dataset.training, settings.training.trusted, say)
        learned.log(of_rows)
        origin = table.origin(data, found)
        seen, answers = evaluation.answers(settings, dataset, pipeline, origin)
        quality, figures = evaluation.judge(settings, dataset, pipeline, answers, champion, columns, origin.uri)
        quality = msgspec.structs.replace(quality, promotions=history.last(known.client, name, settings.quality.metric))
        evaluation.report(quality, root)
        if not quality.passed:
            return False
        converted = candidate.convert(settings, dataset, pipeline, seen, answers)
        came_out = bundles.digest(contents.hashes(converted.files))
        if kept.keep(known, kept.BUNDLE, came_out, made_of, "The very same model came out"):
            return True
        version = candidate.register(
            known,
            settings,
            run_id,
            pipeline,
            converted,
            dataset,
            quality,
            figures,
            judged=contents.judged_on(data, settings.training.holdout, dataset, answers.positive, origin),
            made_of=made_of,
            git=git,
        )
    # Last, so that a run that is killed on the way leaves the aliases as they were.
    if not known.preview:
        known.client.set_registered_model_alias(name, registry.CANDIDATE, version)
    named = f"a preview ({known.preview}), not the candidate" if known.preview else f"alias {registry.CANDIDATE}"
    console.print(f"Registered {name} version [bold]{version}[/bold], {escape(named)}.")
    return True


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__.split("\n")[0])
    parser.add_argument("--preview", default="", metavar="NAME", help="of a pull request: it is no candidate")
    parser.add_argument("--force", action="store_true", help="also where nothing that makes the model has changed")
    arguments = parser.parse_args(argv)
    try:
        with noted(lambda warning: console.print(f"  [yellow]Note:[/yellow] {escape(warning)}")):
            return 0 if train(load_settings(), Path.cwd(), arguments.preview[:200], arguments.force) else 1
    except (SettingsError, DataError, DeriveError, EstimatorError, MlflowException) as error:
        console.print(f"[red]Cannot train:[/red] {escape(registry.complaint(error))}")
        return 3


if __name__ == "__main__":
    command.end(main)
