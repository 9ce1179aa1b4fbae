"""Says what lies here that differs from what is in production, and so what the rest of the pipeline has to do.

    python -m release.changes [--preview NAME] [--retrained] [--force]      after release.restore and training.train
    python -m release.changes --due                                         after release.restore alone

Where the service is made of what the champion's image is made of, there is nothing to build, to measure or to promote.
Nor where it is made of what a rollback took out. Writes reports/changes.json (pipeline.notes.Changes), and for the next
steps of a workflow: measure, publish, promote, champion, note, and whether the MLflow store has news.

--due: whether retraining is due, as the output due: true, false, or busy while a push is being measured. That trains on
the same data, and of two runs that wait GitHub drops one.

Exit code 0: said; 1: the commit is older than the champion's; 3: could not be done.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline import bundle as bundles
from pipeline import command, notes
from pipeline.bundle import BundleError
from pipeline.notes import Champion, Changes, NoteError
from pipeline.schema import Settings
from pipeline.settings import SettingsError, load_settings
from release.github import api as rest
from training import registry
from training.dataset import content
from training.quality.report import Model
from training.source.rows import DataError

WORKFLOW = "pipeline.yml"
UNDER_WAY = ("queued", "in_progress", "requested", "waiting", "pending")


class Outdated(ValueError):
    """The commit is older than what is in production; the message says what to do."""


def changes(
    root: Path,
    settings: Settings,
    champion: Champion,
    preview: str,
    force: bool,
    taken_out: Sequence[ModelVersion] = (),
    reigns: str = "",
) -> Changes:
    """What differs from the champion, and from what a rollback took out. Raises BundleError or NoteError.

    `reigns`: the champion's version in MLflow.
    """
    card, kept = bundles.read(root / "bundle").card, notes.read(root, Model).kept
    service = bundles.service_inputs(root, settings, card.bundle_sha256, card.runtime)
    # Where MLflow knows no champion, as a new server does not, what may be the same is promoted there.
    same = kept != "" and kept == reigns and champion.image != "" and champion.inputs == service
    sentences = []
    if champion.unseen and preview:  # elsewhere a champion that is overlooked stops the promotion
        sentences.append(f"{champion.unseen}: the candidate is measured alone.")
    why = "" if same or preview or force else reason(taken_out, champion, service)
    if same and not force:
        sentences.append(f"Nothing to measure: the service is the champion's, version {card.version}.")
    elif why:
        sentences.append(
            f"Nothing to measure: the service is what was rolled back {why[:300]}. Change it, or run Pipeline by hand "
            "with force."
        )
    elif kept:
        whose = "the champion's, " if kept == reigns else ""
        sentences.append(f"The model is {whose}version {kept}.")
    return Changes(force or not (same or why), [sentence[:500] for sentence in sentences])


def reason(versions: Iterable[ModelVersion], champion: Champion, service: str) -> str:
    """Why a service was rolled back, as MLflow or else the registry knows; empty where it was not."""
    for version in versions:
        if version.tags.get(registry.TAKEN_OUT) == service:
            return str(version.tags[registry.ROLLED_BACK])
    return "from the champion of today" if champion.left == service else ""


def check_order(champion: Champion, environment: Mapping[str, str]) -> None:
    """Raises Outdated where the champion comes from a later commit than this run: an old run was started again.

    Raises GitHubError where GitHub does not say.
    """
    here = environment.get("GITHUB_SHA", "")
    if not champion.revision or not here or champion.revision == here:
        return
    github = rest.connect(environment)
    try:
        answer = rest.call(github, "GET", f"{github.path}/compare/{here}...{champion.revision}").json()
    except rest.GitHubError as error:
        if error.status == 404:  # a commit that is gone, or of another repository
            return
        raise
    if answer["status"] == "ahead" and here != _tip(github, environment):  # else the branch was set back to it
        raise Outdated(
            f"commit {here[:7]} is older than {champion.revision[:7]}, which is in production. Run the newest commit's "
            "workflow again, or the workflow Rollback to go back"
        )


def _tip(github: rest.GitHub, environment: Mapping[str, str]) -> str:
    """The newest commit of the default branch."""
    branch = rest.default_branch(environment)
    return str(rest.call(github, "GET", f"{github.path}/commits/{branch}").json()["sha"])


class Due(NamedTuple):
    due: bool
    why: str  # a sentence


def difference(root: Path, settings: Settings, champion: Champion) -> Due:
    """Whether retraining is due. Raises MlflowException, DataError or OSError."""
    name = settings.project.name
    client = registry.connect(name)
    version = registry.find(client, name, registry.CHAMPION)
    if version is None:
        return Due(True, "There is no champion yet.")
    made_of = bundles.model_inputs(root, settings, content(settings.data))

    def same(known: ModelVersion, service: str) -> bool:
        served = known.tags.get("bundle_sha256", ""), known.tags.get("runtime", "onnx")
        return known.tags.get("inputs_sha256") == made_of and service == bundles.service_inputs(root, settings, *served)

    if same(version, champion.inputs):
        return Due(False, "The champion is made of the same data and code.")
    for each in registry.taken_out(client, name):
        if same(each, each.tags.get(registry.TAKEN_OUT, "")):
            why = each.tags[registry.ROLLED_BACK]
            return Due(False, f"The same data and code made version {each.version}, which was rolled back {why}.")
    what = "service" if version.tags.get("inputs_sha256") == made_of else "model"
    return Due(True, f"What makes the {what} has changed since version {version.version}.")


def pushed(environment: Mapping[str, str]) -> str:
    """The address of a run of the pipeline that is under way on the default branch; empty: there is none.

    Raises GitHubError.
    """
    github, branch = rest.connect(environment), rest.default_branch(environment)
    path = f"{github.path}/actions/workflows/{WORKFLOW}/runs"
    answer = rest.call(github, "GET", path, params={"branch": branch, "per_page": 20}).json()
    ours = [run for run in answer["workflow_runs"] if run["event"] != "pull_request"]  # a fork may have such a branch
    return next((str(run["html_url"]) for run in ours if run["status"] in UNDER_WAY), "")


def say_due(settings: Settings, champion: Champion) -> None:
    due, why = difference(Path.cwd(), settings, champion)
    busy = pushed(os.environ) if due else ""
    if busy:
        said = f"Not retrained: a push trains on the same data already, see {busy}."
    else:
        said = f"{'Retraining' if due else 'Not retrained'}. {why}"
    print(said)
    command.summary(said)
    command.output(due="busy" if busy else str(due).lower())


def say_changes(settings: Settings, champion: Champion, arguments: argparse.Namespace) -> None:
    root, name = Path.cwd(), settings.project.name
    client = registry.connect(name)
    taken_out, reigning = registry.taken_out(client, name), registry.find(client, name, registry.CHAMPION)
    reigns = str(reigning.version) if reigning else ""
    found = changes(root, settings, champion, arguments.preview, arguments.force, taken_out, reigns)
    if found.measure and not arguments.preview:
        check_order(champion, os.environ)
    publish = promote = found.measure and not arguments.preview
    if promote and arguments.retrained and not settings.retraining.promote:
        found.sentences.append(
            "pipeline.toml leaves promotion to a person ([retraining] promote): run Pipeline by hand."
        )
        promote = False
    notes.write(root, found)
    for sentence in found.sentences or ["The service has changed: it is measured."]:
        print(sentence)
    command.summary("\n\n".join(found.sentences))
    command.output(
        measure=str(found.measure).lower(),
        publish=str(publish).lower(),
        store=str(not arguments.preview and (publish or notes.read(root, Model).fitted)).lower(),
        promote=str(promote).lower(),
        champion=champion.image,
        note=" ".join(found.sentences),
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.changes", description=__doc__.split("\n")[0])
    parser.add_argument("--preview", default="", metavar="NAME", help="nothing is promoted, such as in a pull request")
    parser.add_argument("--retrained", action="store_true", help="promoted if [retraining] of pipeline.toml says so")
    parser.add_argument("--force", action="store_true", help="measure, though nothing has changed")
    parser.add_argument("--due", action="store_true", help="say whether retraining is due, before anything is trained")
    arguments = parser.parse_args(argv)
    try:
        settings, champion = load_settings(), notes.read(Path.cwd(), Champion)
        if arguments.due:
            say_due(settings, champion)
        else:
            say_changes(settings, champion, arguments)
    except Outdated as refusal:
        print(f"Not measured: {refusal}.", file=sys.stderr)
        return 1
    except (SettingsError, BundleError, NoteError, DataError, MlflowException, rest.GitHubError, OSError) as error:
        print(f"Cannot tell what has changed: {registry.complaint(error)}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
