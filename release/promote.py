"""Makes the candidate the champion, if a verdict says that this very candidate passed.

    python -m release.promote [--verdict reports/verdict.json] [--image REFERENCE [--replaces REFERENCE]] [--retrained]

Exit code 0: promoted, and read back; 1: it is not allowed, and the last line says why; 3: could not be done.
With --retrained, 0 as well where pipeline.toml leaves promotion to a person.
"""

import argparse
import sys
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from perf.accept import in_words
from perf.arms.arm import ArmError
from perf.verdict import Report, ReportError, read_verdict
from pipeline import command
from pipeline.settings import SettingsError, load_settings
from release import load_test_tags as figures
from release import production, repository
from release.production import Refused
from training import registry


def allowed(client: MlflowClient, name: str, verdict: Report) -> ModelVersion:
    """The candidate, if the verdict is on it and is a pass. Raises Refused."""
    candidate = registry.find(client, name, registry.CANDIDATE)
    if candidate is None:
        raise Refused(f"{name} has no candidate; run `make train`")
    version, judged = str(candidate.version), verdict.candidate
    if verdict.outcome != "pass":
        raise Refused(f"the verdict on {name} version {judged.version} is {verdict.outcome}: {verdict.headline}")
    if (judged.name, judged.version) != (name, version):
        raise Refused(
            f"the verdict is on {judged.name} version {judged.version}, but the candidate is {name} version {version}; "
            "run `make perf`"
        )
    return candidate


def check_replaced(image: str, replaces: str) -> None:
    """Whether the champion of the registry is still the one that the candidate was compared with.

    So a run that was started again, or overtaken, puts no older model over a newer one. Raises Refused or ImageError.
    """
    now = repository.champion(image.partition("@")[0])
    if now not in (replaces, image):
        raise Refused(
            f"the champion is {now or 'none'} now, but the candidate was judged beside {replaces or 'none'}; run all "
            "jobs again to judge it beside the champion of today"
        )


def check_beside(champion: ModelVersion | None, verdict: Report) -> None:
    """Whether the candidate was judged beside the champion, or beside none where there is none. Raises Refused.

    A champion that could not answer the candidate's requests counts: the report says so, and nothing else can be done.
    """
    beside = verdict.baseline or verdict.left_out
    judged = (beside.name, beside.version) if beside else None
    wanted = (champion.name, str(champion.version)) if champion else None
    served, registered = beside.bundle_sha256 if beside else "", champion.tags.get("bundle_sha256") if champion else ""
    same = served == registered or not served or not registered
    if judged == wanted and same:
        return
    there = f"version {champion.version}" if champion else "none"
    there = there if same or judged != wanted else "another model of that number"
    whom = f"BASE={verdict.base}" if verdict.base else f"version {beside.version}" if beside else "none"
    raise Refused(
        f"the candidate was judged beside {whom}, but the champion is {there}; run `make perf`, without BASE, to judge "
        "it beside the champion"
    )


def promote(client: MlflowClient, name: str, verdict: Report, image: str, replaces: str | None) -> str:
    """Moves alias and image tag and notes what was measured; returns the version that the alias then names."""
    candidate = allowed(client, name, verdict)
    champion = registry.find(client, name, registry.CHAMPION)
    again = champion is not None and champion.version == candidate.version
    if verdict.base or (replaces is None and not again):  # else the registry says who the champion is
        check_beside(champion, verdict)
    image = image or verdict.candidate.image
    if production.in_registry(image):
        if replaces is not None:
            check_replaced(image, replaces)
        production.verify(image, candidate)
    tags = {
        "verdict": verdict.outcome,
        **figures.tags(verdict),
        "image": image,
        "promoted_at": production.when(),
        "promoted_by": production.actor(),
    }
    if champion is not None and not again:
        tags["replaced"] = str(champion.version)
    if verdict.accepted is not None:
        tags["accepted"] = in_words(verdict.accepted, str)
    client.log_batch(candidate.run_id, metrics=figures.metrics(verdict))
    production.move(client, candidate, image, tags)
    return str(client.get_model_version_by_alias(name, registry.CHAMPION).version)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.promote", description=__doc__.split("\n")[0])
    parser.add_argument("--verdict", type=Path, default=Path("reports/verdict.json"))
    parser.add_argument("--image", default="", help="the reference, by digest, under which the image can be pulled")
    parser.add_argument(
        "--replaces", default=None, metavar="REFERENCE", help="promote only if this is the champion (empty: if none is)"
    )
    parser.add_argument("--retrained", action="store_true", help="ask [retraining] of pipeline.toml for permission")
    arguments = parser.parse_args(argv)
    try:
        settings = load_settings()
        if arguments.retrained and not settings.retraining.promote:
            print("Not promoted: pipeline.toml says [retraining] promote = false. Next: run the workflow Pipeline")
            return 0
        name = settings.project.name
        client = registry.connect(name)
        version = promote(client, name, read_verdict(arguments.verdict), arguments.image, arguments.replaces)
    except Refused as refusal:
        print(f"Not promoted: {refusal}", file=sys.stderr)
        return 1
    except (SettingsError, ReportError, MlflowException, ArmError) as error:
        print(f"Cannot promote: {registry.complaint(error)}", file=sys.stderr)
        return 3
    further = f"Its image is {arguments.image}" if arguments.image else "Next: make serve"
    print(f"Promoted: {name}@{registry.CHAMPION} is version {version}. {further}")
    return 0


if __name__ == "__main__":
    command.end(main)
