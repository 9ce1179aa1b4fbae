"""Says what lies here that differs from what is in production, and so what the rest of the pipeline has to do.

    python -m release.changes [--preview NAME] [--retrained] [--force]      after release.restore and training.train
    python -m release.changes --due                                         after release.restore alone

Where the service is made of what the champion's image is made of, there is nothing to build, to measure or to promote.
Writes reports/changes.json (pipeline.notes.Changes), and for the next jobs of a workflow: measure, publish, promote,
champion and note.

--due: whether retraining is due, as the output due, true or false. It is not while a push is being measured, which
trains on the same data: of two runs that wait GitHub drops one.

Exit code 0: said; 1: the commit is older than the champion's; 3: could not be done.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from mlflow.exceptions import MlflowException

from pipeline import bundle as bundles
from pipeline import command, notes
from pipeline.bundle import BundleError
from pipeline.notes import Champion, Changes, NoteError, Quality
from pipeline.schema import Settings
from pipeline.settings import SettingsError, load_settings
from release.github import api as rest
from training import registry

WORKFLOW = "pipeline.yml"
UNDER_WAY = ("queued", "in_progress", "requested", "waiting", "pending")


class Outdated(ValueError):
    """The commit is older than what is in production; the message says what to do."""


def changes(root: Path, settings: Settings, champion: Champion, preview: str, force: bool) -> Changes:
    """What differs from the champion. Raises BundleError or NoteError."""
    card, kept = bundles.read(root / "bundle").card, notes.read(root, Quality).kept
    service = bundles.service_inputs(root, settings, card.bundle_sha256, card.runtime)
    # What was trained anew is promoted, though it may be the same: MLflow knew no champion, as a new server does not.
    same = kept != "" and champion.image != "" and champion.inputs == service
    sentences = []
    if champion.unseen and preview:  # elsewhere a champion that is overlooked stops the promotion
        sentences.append(f"{champion.unseen}: the candidate is measured alone.")
    if same and not force:
        sentences.append(f"Nothing to measure: the service is the champion's, version {card.version}.")
    elif kept:
        sentences.append(f"The model is the champion's, version {kept}.")
    return Changes(force or not same, [sentence[:500] for sentence in sentences])


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
    if answer["status"] == "ahead":
        raise Outdated(
            f"commit {here[:7]} is older than {champion.revision[:7]}, which is in production. Run the newest commit's "
            "workflow again, or the workflow Rollback to go back"
        )


def difference(root: Path, settings: Settings, champion: Champion) -> str:
    """What makes retraining due, a sentence; empty where nothing does. Raises MlflowException or OSError."""
    name = settings.project.name
    version = registry.find(registry.connect(name), name, registry.CHAMPION)
    if version is None:
        return "There is no champion yet."
    if version.tags.get("inputs_sha256") != bundles.model_inputs(root, settings):
        return f"What makes the model has changed since version {version.version}."
    served = version.tags["bundle_sha256"], version.tags["runtime"]
    if champion.inputs != bundles.service_inputs(root, settings, *served):
        return f"What makes the service has changed since version {version.version} was promoted."
    return ""


def pushed(environment: Mapping[str, str]) -> str:
    """The address of a run of the pipeline that is under way on the default branch; empty: there is none.

    Raises GitHubError.
    """
    github, branch = rest.connect(environment), rest.default_branch(environment)
    path = f"{github.path}/actions/workflows/{WORKFLOW}/runs"
    answer = rest.call(github, "GET", path, params={"branch": branch, "per_page": 20}).json()
    return next((str(run["html_url"]) for run in answer["workflow_runs"] if run["status"] in UNDER_WAY), "")


def say_due(settings: Settings, champion: Champion) -> None:
    why = difference(Path.cwd(), settings, champion)
    busy = pushed(os.environ) if why else ""
    if busy:
        said = f"Not retrained: a push trains on the same data already, see {busy}."
    else:
        said = f"Retraining. {why}" if why else "Not retrained: the champion is made of the same data and code."
    print(said)
    command.summary(said)
    command.output(due=str(bool(why and not busy)).lower())


def say_changes(settings: Settings, champion: Champion, arguments: argparse.Namespace) -> None:
    root = Path.cwd()
    found = changes(root, settings, champion, arguments.preview, arguments.force)
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
    except (SettingsError, BundleError, NoteError, MlflowException, rest.GitHubError, OSError) as error:
        print(f"Cannot tell what has changed: {registry.complaint(error)}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
