"""Train, evaluate, register: from the data file to a candidate in MLflow and a bundle that can be served.

    make train
    python -m training.train

Exit code 0: registered; 1: the quality gate refused the model; 3: could not run, and the last line says why.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import mlflow
import msgspec
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from rich.console import Console
from rich.markup import escape
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from pipeline import bundle as bundles
from pipeline import command, notes
from pipeline.bundle import BundleError, Contract
from pipeline.columns import DeriveError
from pipeline.schema import Data, Settings, Training
from pipeline.settings import SettingsError, load_settings
from training import contents, history, learned, model_card, registry
from training.champion import Asked, ask
from training.dataset import Dataset, Say, read
from training.fit import EstimatorError, answer, fit, rounded
from training.gaps import answered
from training.onnx.export import Exported, asker, export
from training.quality.curves import curves, save
from training.quality.markdown import markdown
from training.quality.metrics import Answers, metrics, rarest
from training.quality.report import CURVES, Model
from training.source import table
from training.source.files import File
from training.source.rows import DataError
from training.source.table import Origin
from training.verdict import bounds, important, matters, slice_columns, verdict
from training.warned import noted

INPUTS, BUNDLE = "inputs_sha256", "bundle_sha256"  # tags of a version: of what it was made, and what came out
UNCHANGED = "Nothing that makes the model has changed"
SILENT = 10.0  # seconds without a line, where there is no terminal to draw on
console = Console(highlight=False, soft_wrap=True)


@contextmanager
def under_way(what: str) -> Iterator[Say]:
    """Shows what is under way, and how long it took. Gives a function that says how far it is."""
    started = said = time.perf_counter()
    with console.status(what) as status:

        def say(how_far: str) -> None:
            nonlocal said
            if console.is_terminal:
                status.update(f"{what}: {how_far}")
            elif time.perf_counter() - said > SILENT:
                said = time.perf_counter()
                console.print(f"  {what}: {how_far} [dim]{said - started:.0f} s[/dim]")

        yield say
    console.print(f"  {what} [dim]{time.perf_counter() - started:.1f} s[/dim]")


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
    made_of = bundles.model_inputs(root, settings, content) if content else ""

    known = [(champion, "the champion's")]
    known += [] if preview else [(registry.find(client, name, registry.CANDIDATE), "the candidate's")]
    known += [(each, "which was rolled back") for each in registry.taken_out(client, name)]
    reigns = str(champion.version) if champion else ""

    def keep(why: str, key: str, digest: str) -> bool:
        for version, whose in [] if force else known:
            if version is None or version.tags.get(key) != digest:
                continue
            if reigns in (str(version.version), version.tags.get("beside")):  # it was judged beside that one
                return _keep(client, version, root, preview, made_of, why, whose, key == BUNDLE)
        return False

    if made_of and keep(UNCHANGED, INPUTS, made_of):
        return True
    return _train(client, champion, settings, root, preview, made_of, keep, found)


def _note(sentences: Iterable[str]) -> None:
    for each in sentences:
        console.print(f"[yellow]Note:[/yellow] {escape(each)}.")


def _train(
    client: MlflowClient,
    champion: ModelVersion | None,
    settings: Settings,
    root: Path,
    preview: str,
    made_of: str,
    keep: Callable[[str, str, str], bool],
    found: Sequence[File],
) -> bool:
    """Likewise. `made_of`: pipeline.bundle.model_inputs, empty where the data has to be read to know it."""
    name, data, git = settings.project.name, settings.data, registry.git_sha(root)
    dataset, of_rows = _read(settings, found)
    held_out, columns = dataset.held_out, slice_columns(dataset, settings.quality.slices)
    if not made_of:
        made_of = bundles.model_inputs(root, settings, dataset.sha256)
        if keep(UNCHANGED, INPUTS, made_of):
            return True

    with registry.run(name, git) as run_id:
        with under_way(f"fit on {len(dataset.frame) - len(held_out.frame):,} rows") as say:
            pipeline = fit(data.task, settings.training.seed, dataset.training, settings.training.trusted, say)
            derive, model = pipeline.named_steps.values()
        learned.log(of_rows)
        origin = table.origin(data, found)
        seen, answers = _answers(settings, dataset, pipeline, origin)
        expected, classes = answers.given, list(answers.classes)
        quality, figures = _judge(settings, dataset, pipeline, answers, champion, columns, origin.uri)
        quality = msgspec.structs.replace(quality, promotions=history.last(client, name, settings.quality.metric))
        _report(quality, root)
        if not quality.passed:
            return False

        with under_way("convert to ONNX and compare on every held-out row"):
            rows = {column.name: seen[[column.name]].to_numpy() for column in derive.columns}
            exported = export(model, derive.columns, rows, expected, name, derive.gaps_)
        if exported.runtime != "onnx":
            console.print(
                f"[yellow]Warning:[/yellow] {exported.library} will serve this model: {escape(exported.reason)}."
            )
        contract = _contract(data, dataset, held_out.frame, pipeline, exported, classes)
        files = {
            bundles.MODELS[exported.runtime]: exported.model,
            bundles.CONTRACT: bundles.encode_contract(contract),
            bundles.REQUESTS: contents.requests(held_out.frame, data),
        }
        if keep("The very same model came out", BUNDLE, bundles.digest(contents.hashes(files))):
            return True
        with under_way("register with MLflow"):
            model_id = registry.log_model(pipeline, contents.signature(contract), held_out.frame.head(3))
            tags = {
                "git_sha": git,
                "runtime": exported.runtime,
                "quality": quality.sentence,
                "inputs_sha256": made_of,
                "beside": str(champion.version) if champion else "",  # whom it was judged beside
                **({"preview": preview} if preview else {}),
            }
            version = str(registry.create_version(client, name, f"models:/{model_id}", run_id, tags, model_id).version)
        with under_way("write the bundle"):
            card = contents.card(
                name=name,
                version=version,
                run_id=run_id,
                git_sha=git,
                judged=contents.judged_on(data, settings.training.holdout, dataset, answers.positive, origin),
                task=data.task,
                metrics={key: value for key, value in figures.items() if np.isfinite(value)},
                expected=expected,
                exported=exported,
                files=files,
                inputs=made_of,
            )
            quality = msgspec.structs.replace(quality, version=version)
            about = model_card.text(settings, card, contract, dataset, quality)
            bundles.write(root / "bundle", files | {bundles.MODEL_CARD: about.encode()}, card)
            service = bundles.service_inputs(root, settings, card.bundle_sha256, card.runtime)
            digests = {"bundle_sha256": card.bundle_sha256, "service_sha256": service}
            registry.describe(client, name, version, model_card.description(about), digests)
            registry.log_snapshot(client, run_id, root)
            notes.write(root, quality)
            mlflow.log_artifact(str(root / Model.path))

    # Last, so that a run that is killed on the way leaves the aliases as they were.
    if not preview:
        client.set_registered_model_alias(name, registry.CANDIDATE, version)
    agreement = f"differs from {exported.library} by {exported.difference:.1e} at most, " if not exported.reason else ""
    named = f"a preview ({escape(preview)}), not the candidate" if preview else f"alias {registry.CANDIDATE}"
    console.print(f"Registered {name} version [bold]{version}[/bold], {named}.")
    console.print(f"Wrote bundle/ ({exported.runtime}; {agreement}sha256 {card.bundle_sha256[:12]}).")
    return True


def _read(settings: Settings, found: Sequence[File]) -> tuple[Dataset, np.ndarray]:
    """The data, and a print of each row that is learned from."""
    with under_way("read the data") as say:
        dataset = read(settings.data, settings.training.holdout, say, settings.quality.slices, found)
        of_rows = learned.prints(dataset.frame, dataset.target)
        if twice := learned.shared(of_rows, dataset.is_held_out, least=0.01):
            dataset = dataset._replace(notes=[*dataset.notes, twice])
    _note(dataset.notes)
    return dataset, of_rows[~dataset.is_held_out]


def _answers(settings: Settings, dataset: Dataset, pipeline: Pipeline, origin: Origin) -> tuple[pd.DataFrame, Answers]:
    """The held-out rows as the model sees them, and its answers to them."""
    data, held_out = settings.data, dataset.held_out
    with under_way(f"evaluate on {len(held_out.frame):,} held-out rows") as say:
        seen, given = answer(pipeline, held_out.frame, say)
        classes = [] if data.task == "regression" else [str(label) for label in pipeline.classes_]
        positive = data.positive or (rarest(dataset.target.to_numpy()) if classes else "")
        answers = Answers(held_out.target.to_numpy(), given, classes, positive)
        _log(data, settings.training, dataset, pipeline.named_steps["model"], origin)
    _note(rounded(held_out.frame, seen))
    return seen, answers


def _judge(
    settings: Settings,
    dataset: Dataset,
    pipeline: Pipeline,
    answers: Answers,
    champion: ModelVersion | None,
    columns: Mapping[str, pd.Series],
    place: str,
) -> tuple[Model, dict[str, float]]:
    """The verdict, and the metrics on all held-out rows. columns: by which these are sliced; place: of the data."""
    found = metrics(answers)
    console.print("  " + ", ".join(f"{key} [bold]{value:.4g}[/bold]" for key, value in found.items()))
    mlflow.log_metrics({name: value for name, value in found.items() if np.isfinite(value)})
    asked = Asked()
    if champion is not None:
        with under_way(f"ask the champion, version {champion.version}, for the same rows"):
            asked = ask(champion, settings.data, answers.positive, dataset, place, settings.quality.metric)
    _note(asked.notes)
    with under_way("compare with the champion" if asked.answers else "see how sure that is"):
        figures = curves(answers.of(asked.rows) if asked.answers else answers, asked.answers)
        registry.log_figures(figures)
        save(figures)
        model = verdict(settings.quality, dataset, answers, found, asked, columns)
    with under_way("see which columns matter"):
        ours = matters(pipeline, dataset.held_out.frame, answers, asked.rows, settings.quality.metric)
        model = msgspec.structs.replace(model, importance=important(ours, asked.importance))
    mlflow.log_metrics(bounds(model))
    return model, found


def _contract(
    data: Data, dataset: Dataset, held_out: pd.DataFrame, pipeline: Pipeline, exported: Exported, classes: list[str]
) -> Contract:
    """What the service will accept, as training has seen it, and as the model answers."""
    whole = [name for name in data.kinds if not dataset.frame[name].isna().any()]
    served = asker(exported.model) if exported.runtime == "onnx" else None
    gaps = answered(pipeline, held_out, whole, served, exported.gapless)
    return contents.contract(data, dataset, pipeline.named_steps["derive"].columns, exported.gapless, gaps, classes)


def _keep(
    client: MlflowClient,
    version: ModelVersion,
    root: Path,
    preview: str,
    made_of: str,
    why: str,
    whose: str,
    fitted: bool,
) -> bool:
    """Takes a version for the model; False where its files are gone, or src/model would not run with them."""
    number = str(version.version)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            bundle = bundles.read(Path(registry.download_snapshot(version, scratch)) / "bundle")
            if bundle.card.code_sha256 != bundles.code_digest(root / "src" / "model"):
                return False
            names = [*bundle.card.files, bundles.MODEL_CARD]
            files = {name: path.read_bytes() for name in names if (path := bundle.folder / name).is_file()}
            bundles.write(root / "bundle", files, bundle.card)
    except (MlflowException, BundleError, OSError) as error:
        reason = escape(registry.complaint(error))
        console.print(
            f"[yellow]Note:[/yellow] trained again, since the files of version {number} cannot be had: {reason}."
        )
        return False
    if not preview:
        client.set_model_version_tag(version.name, number, INPUTS, made_of)
        client.set_registered_model_alias(version.name, registry.CANDIDATE, number)
    notes.write(root, msgspec.structs.replace(registry.quality(version), version=number, kept=number, fitted=fitted))
    console.print(
        f"{why}: it stays version [bold]{number}[/bold], {whose}, with the bundle/ of that. To train all the "
        "same: make train FORCE=1"
    )
    return True


def _log(data: Data, training: Training, dataset: Dataset, model: BaseEstimator, origin: Origin) -> None:
    registry.log_parameters(model, seed=training.seed, holdout=training.holdout, features=len(data.kinds))
    registry.log_dataset(origin.uri, PurePosixPath(data.path).stem or "query", dataset.sha256, contents.schema(data))


def _report(quality: Model, root: Path) -> None:
    command.summary(markdown(quality))
    mlflow.set_tag("quality", quality.outcome)
    notes.write(root, quality)
    (root / Model.path).with_suffix(".md").write_text(markdown(quality), encoding="utf-8")
    style, word = {"pass": ("green", "pass"), "fail": ("red", "fail"), "unsure": ("yellow", "cannot tell")}[
        quality.outcome
    ]
    stopped = " Not registered; bundle/ is as it was. The limits are in pipeline.toml under \\[quality]."
    console.print(
        f"[{style}]Quality gate: {word}.[/{style}] {escape(quality.sentence)}.{'' if quality.passed else stopped}"
    )


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
