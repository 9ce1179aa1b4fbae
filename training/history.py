"""The versions that were ever promoted, and how their p95 compares."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from training import registry
from training.quality.report import Promotion

SHOWN = 10  # promotions, in a report


class Promoted(NamedTuple):
    """A version that was promoted. Empty or None: MLflow does not say."""

    version: str
    day: str
    p95: float | None = None  # ms
    machine: str = ""
    change: float | None = None  # of p95 against `baseline`, as a share
    baseline: str = ""
    metric: float | None = None
    rolled_back: bool = False
    champion: bool = False


def read(client: MlflowClient, name: str, metric: str) -> list[Promoted]:
    """The versions of a model that were ever promoted, in that order. Raises MlflowException."""
    versions = [each for each in client.search_model_versions(f"name='{name}'") if each.tags.get("promoted_at")]
    champion, history = registry.find(client, name, registry.CHAMPION), []
    for each in sorted(versions, key=lambda each: (each.tags["promoted_at"], int(each.version))):
        tags = each.tags
        try:
            score = client.get_run(each.run_id).data.metrics.get(metric)
        except MlflowException:  # somebody has deleted the run
            score = None
        p95, change = _number(tags.get("p95_ms"), above=0), _number(tags.get("p95_change"), above=-1)
        measured = (p95, tags.get("runner_cpu", ""), change, tags.get("p95_baseline", ""), score)
        reigns = champion is not None and champion.version == each.version
        state = registry.ROLLED_BACK in tags and not reigns, reigns
        history.append(Promoted(str(each.version), tags["promoted_at"][:10], *measured, *state))
    return history


def _number(text: str | None, above: float) -> float | None:
    """A tag as a number; None where it holds none, since anybody may edit tags."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > above else None


def chain(history: Iterable[Promoted]) -> dict[str, tuple[str, float]]:
    """For each version, its baseline ("": the chain starts here) and its p95 over that of the start of the chain."""
    links: dict[str, tuple[str, float]] = {}
    for each in history:
        before = links.get(each.baseline) if each.change is not None else None
        links[each.version] = (each.baseline, before[1] * (1 + (each.change or 0))) if before else ("", 1.0)
    return links


def last(client: MlflowClient, name: str, metric: str) -> list[Promotion]:
    """The last versions that were promoted, each with its p95 over that of the first one of its chain."""
    known = read(client, name, metric)
    levels = chain(known)
    return [
        Promotion(version=each.version, metric=each.metric, p95=levels[each.version][1], rolled_back=each.rolled_back)
        for each in known[-SHOWN:]
    ]
