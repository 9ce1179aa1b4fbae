"""Makes the candidate the champion, if a verdict says that this very candidate passed.

    python -m release.promote [--verdict reports/verdict.json] [--image REFERENCE [--replaces REFERENCE]]

Exit code 0: promoted, and read back; 1: it is not allowed, and the last line says why; 3: could not be done.
"""

import argparse
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from perf.accept import in_words
from perf.arms.arm import ArmError
from perf.arms.containers import docker
from perf.arms.processes import code_digest
from perf.verdict import Criterion, Key, Report, ReportError, read_verdict, row_of
from pipeline import bundle as bundles
from pipeline import command
from pipeline.bundle import BundleError
from pipeline.settings import SettingsError, load_settings
from release import production, repository
from release.production import Refused
from training import model_card, registry

METRICS: dict[Key, str] = {  # of a row of the report: the metric that the candidate's figure becomes, in its own unit
    "p95": "perf.p95_ms",
    "p50": "perf.p50_ms",
    "p99": "perf.p99_ms",
    "mean": "perf.mean_ms",
    "p95_due": "perf.p95_due_ms",
    "errors": "perf.error_rate",
    "throughput": "perf.throughput",
    "ready_seconds": "perf.ready_s",
    "cpu_ms": "perf.cpu_ms",
    "memory_mb": "perf.memory_mb",
}


def allowed(client: MlflowClient, name: str, verdict: Report, here: bool) -> ModelVersion:
    """The candidate, if the verdict is on it and is a pass. Raises Refused.

    `here`: it is the alias of that name. A workflow takes what was judged: on a team's server others move the alias.
    """
    candidate = registry.find(client, name, registry.CANDIDATE) if here else _judged(client, name, verdict)
    if candidate is None:
        raise Refused(f"{name} has no candidate; run `make train`")
    version, judged = str(candidate.version), verdict.candidate
    if verdict.outcome == "error":
        raise Refused(f"the last load test has no verdict: {verdict.headline}")
    if (judged.name, judged.version) != (name, version):
        raise Refused(
            f"the verdict is on {judged.name} version {judged.version}, but the candidate is {name} version {version}; "
            "run `make perf`"
        )
    if verdict.outcome != "pass":
        raise Refused(f"the verdict on {name} version {judged.version} is {verdict.outcome}: {verdict.headline}")
    return candidate


def _judged(client: MlflowClient, name: str, verdict: Report) -> ModelVersion | None:
    """The version that a verdict names, if it is registered with that very bundle."""
    versions = client.search_model_versions(f"name='{name}'")
    named = verdict.candidate.version, verdict.candidate.bundle_sha256
    return next((each for each in versions if (str(each.version), each.tags.get("bundle_sha256")) == named), None)


def check_replaced(image: str, replaces: str) -> None:
    """Whether the champion of the registry is still the one that the candidate was compared with.

    So a run that was started again, or overtaken, puts no older model over a newer one. Raises Refused or ImageError.
    """
    images = repository.repository_of(image)
    if repository.look_up(images, repository.ROLLED_BACK).image == image:
        raise Refused("this image was rolled back; change something, or run Pipeline by hand with force")
    now = repository.champion(images)
    if now not in (replaces, image):
        raise Refused(
            f"the champion is {now or 'none'} now, but the candidate was judged beside {replaces or 'none'}; run all "
            "jobs again to judge it beside the champion of today"
        )


def check_changed(candidate: ModelVersion, service: str) -> None:
    """Whether a version that was rolled back is served by other code now. Raises Refused."""
    if candidate.tags.get(registry.TAKEN_OUT, service) == service:
        raise Refused(
            f"version {candidate.version} was rolled back {candidate.tags[registry.ROLLED_BACK]}. Change something, "
            f"or go back to it by `make rollback TO={candidate.version}`"
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


def metrics_of(verdict: Report) -> list[Metric]:
    """What was measured of the candidate; what was not is left out."""
    values = {METRICS[row.key]: row.candidate for row in verdict.criteria if row.key in METRICS}
    if (row := _change(verdict)) is not None:
        values["perf.p95_change"] = row.change
    runner = verdict.runner
    values["perf.workers"] = len(runner.service_cpus) if runner.service_cpus else runner.cpus
    now = int(1000 * time.time())
    return [Metric(name, value, now, step=0) for name, value in values.items() if value is not None]


def tags_of(verdict: Report) -> dict[str, str]:
    """p95, the machine, and p95's change against the baseline as a share, with its interval.

    Raises ReportError where no p95 was measured.
    """
    values = {"p95_ms": f"{verdict.p95_ms:.3f}", "runner_cpu": verdict.runner.cpu}
    row, baseline = _change(verdict), verdict.baseline
    if row is not None and baseline is not None:
        numbers = {"p95_change": row.change}
        if row.interval is not None:
            numbers |= zip(("p95_change_low", "p95_change_high"), row.interval, strict=True)
        values |= {name: f"{value:.5f}" for name, value in numbers.items() if value is not None}
        if baseline.name == verdict.candidate.name:
            values["p95_baseline"] = baseline.version
    return {name: value for name, value in values.items() if value}


def _change(verdict: Report) -> Criterion | None:
    """The row of p95 where it holds a change. A version that was measured against itself keeps the one it has."""
    judged, baseline = verdict.candidate, verdict.baseline
    if baseline is None or (judged.name, judged.version) == (baseline.name, baseline.version):
        return None
    p95 = row_of(verdict.criteria, "p95")
    return p95 if p95 is not None and p95.change is not None else None


def check_measured(service: str, verdict: Report, root: Path) -> None:
    """Whether what was measured is the code that lies in `root`, of which `service` is the digest. Raises Refused."""
    judged = verdict.candidate
    if judged.kind == "process":
        same = judged.code_sha256 == code_digest(root)
    elif judged.image_id:
        label = f'{{{{index .Config.Labels "{repository.INPUTS}"}}}}'
        same = docker("image", "inspect", "--format", label, judged.image_id).strip() == service
    else:
        return
    if not same:
        raise Refused("the service has changed since it was measured; run `make perf`")


def serving(client: MlflowClient, candidate: ModelVersion, image: str, verdict: Report, root: Path) -> dict[str, str]:
    """The tags that say which code serves a version, which is logged where it is not that of the training.

    That is the code of an image in a registry, else of the project in `root`. Raises Refused, ArmError or BundleError.
    """
    if "service_sha256" not in candidate.tags:  # an older release of the template has registered it
        return {}
    if production.in_registry(image):
        service = repository.labels(image).get(repository.INPUTS, "")
    else:
        card = bundles.read(root / "bundle").card
        service = bundles.service_inputs(root, load_settings(root), card.bundle_sha256, card.runtime)
        check_measured(service, verdict, root)
    if candidate.tags["service_sha256"] == service:
        return {}
    snapshot = f"{registry.SNAPSHOT}-{service[:12]}"
    with production.contents(image) if production.in_registry(image) else nullcontext(root) as folder:
        registry.log_snapshot(client, candidate.run_id, folder, snapshot)
    return {"service_sha256": service, "snapshot": snapshot}


def promote(
    client: MlflowClient, name: str, verdict: Report, image: str, replaces: str | None, root: Path = Path()
) -> str:
    """Moves alias and image tag and notes what was measured; returns the version that the alias then names."""
    candidate = allowed(client, name, verdict, here=replaces is None)
    champion = registry.find(client, name, registry.CHAMPION)
    again = champion is not None and champion.version == candidate.version
    if verdict.base or (replaces is None and not again):  # else the registry says who the champion is
        check_beside(champion, verdict)
    image = image or verdict.candidate.image
    if production.in_registry(image):
        if replaces is not None:
            check_replaced(image, replaces)
        production.verify(image, candidate)
    served = serving(client, candidate, image, verdict, root)
    if registry.ROLLED_BACK in candidate.tags and not again:
        check_changed(candidate, served.get("service_sha256", candidate.tags.get("service_sha256", "")))
    tags = served | {
        "verdict": verdict.outcome,
        **tags_of(verdict),
        "image": image,
        "promoted_at": production.when(),
        "promoted_by": production.actor(),
    }
    if champion is not None and not again:
        tags["replaced"] = str(champion.version)
    if verdict.accepted is not None:
        tags["accepted"] = in_words(verdict.accepted, str)
    client.log_batch(candidate.run_id, metrics=metrics_of(verdict))
    about = model_card.promoted(candidate.description or "", {key: value for key, value in tags.items() if value})
    production.move(client, candidate, image, tags, about)
    return str(client.get_model_version_by_alias(name, registry.CHAMPION).version)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.promote", description=__doc__.split("\n")[0])
    parser.add_argument("--verdict", type=Path, default=Path("reports/verdict.json"))
    parser.add_argument("--image", default="", help="the reference, by digest, under which the image can be pulled")
    parser.add_argument(
        "--replaces", default=None, metavar="REFERENCE", help="promote only if this is the champion (empty: if none is)"
    )
    arguments = parser.parse_args(argv)
    try:
        name = load_settings().project.name
        client = registry.connect(name)
        version = promote(client, name, read_verdict(arguments.verdict), arguments.image, arguments.replaces)
    except Refused as refusal:
        print(f"Not promoted: {refusal}", file=sys.stderr)
        return 1
    except (SettingsError, ReportError, BundleError, MlflowException, ArmError, OSError) as error:
        print(f"Cannot promote: {registry.complaint(error)}", file=sys.stderr)
        return 3
    further = f"Its image is {arguments.image}" if arguments.image else "Next: make serve"
    print(f"Promoted: {name}@{registry.CHAMPION} is version {version}. {further}")
    return 0


if __name__ == "__main__":
    command.end(main)
