"""MODEL_CARD.md, for whoever has to decide whether to use a model: Mitchell et al., Model Cards, FAT* 2019."""

from collections.abc import Mapping

from pipeline.bundle import Card, Contract
from pipeline.markup import folded, listed, quoted, table
from pipeline.schema import Settings
from training.dataset import Dataset
from training.quality import markdown
from training.quality.report import Model

LONGEST = 5_000  # characters of a description, as MLflow's tables have it
CATEGORIES = 8  # that are named


def text(settings: Settings, card: Card, contract: Contract, dataset: Dataset, model: Model) -> str:
    """The whole card."""
    sections = [
        f"# {card.name}, version {card.version}",
        _purpose(settings, contract),
        f"## Data\n\n{_data(settings, card, dataset)}",
        f"## Quality\n\n{_quality(settings, model)}",
        f"## What it is sent\n\n{folded(f'{len(contract.fields)} fields', _fields(contract))}",
        f"## Limits\n\n{_limits(contract, card)}",
        f"## Where it comes from\n\n{_origin(card)}",
    ]
    return "\n\n".join(sections) + "\n"


def description(card_text: str) -> str:
    """As much of a card as MLflow's tables hold: whole sections, but the longest ones."""
    kept = card_text.strip().split("\n\n## ")
    while len("\n\n## ".join(kept)) > LONGEST and len(kept) > 1:
        kept.remove(max(kept[1:], key=len))
    return "\n\n## ".join(kept)[:LONGEST]


def promoted(before: str, tags: Mapping[str, str]) -> str:
    """A description with what a promotion adds: who, when, and how fast it was measured to be."""
    kept = before.partition("\n\n## In production")[0].strip()
    lines = [f"promoted {tags['promoted_at']} by {tags['promoted_by']}"]
    if "p95_ms" in tags:
        lines.append(f"p95 {tags['p95_ms']} ms, measured on {tags.get('runner_cpu') or 'an unknown CPU'}")
    if "image" in tags:
        lines.append(f"image {tags['image']}")
    section = f"\n\n## In production\n\n{listed(lines)}"
    return kept[: LONGEST - len(section)] + section


def _purpose(settings: Settings, contract: Contract) -> str:
    target = quoted(settings.data.target)
    what = "a number" if contract.task == "regression" else f"one of {_some(contract.classes)}"
    return " ".join(filter(None, [settings.project.description, f"It tells {target}: {what}."]))


def _some(names: list[str]) -> str:
    shown = ", ".join(quoted(name, 60) for name in names[:CATEGORIES])
    return shown + (f" and {len(names) - CATEGORIES:,} others" if len(names) > CATEGORIES else "")


def _data(settings: Settings, card: Card, dataset: Dataset) -> str:
    data = settings.data
    how = f"grouped by {quoted(data.group)}" if data.group else "by a hash of each"
    how = f"the newest by {quoted(data.time)}" if data.time else how
    version = f", {card.data['version']}" if card.data.get("version") else ""
    lines = [f"{quoted(str(card.data['path']), 500)}{version}"]
    lines += [f"asked by {quoted(data.sql, 500)}"] if data.sql else []
    lines.append(f"{len(dataset.frame):,} rows; {dataset.is_held_out.sum():,} were held out, {how}")
    lines.append(f"sha256 of the rows: {quoted(dataset.sha256)}")
    lines.append(f"licence: {quoted(data.licence)}" if data.licence else "licence: not said (`licence` under `[data]`)")
    return "\n".join(f"- {line}" for line in lines)


def _quality(settings: Settings, model: Model) -> str:
    quality = settings.quality
    limits = f"It had to reach {quality.metric} {quality.floor:g}, and to lose less than {quality.tolerance:g}."
    return "\n\n".join([*markdown.shown(model), limits, *markdown.hidden(model)])


def _fields(contract: Contract) -> str:
    rows = [["field", "is", "may be missing", "values"]]
    for field in contract.fields:
        missing = "yes" if field.nullable else "answered all the same" if field.gap else "no"
        values = _some(field.categories) if field.categories else quoted(field.format) if field.format else ""
        rows.append([quoted(field.name, 60), field.type, missing, values])
    return table(rows, "llll")


def _limits(contract: Contract, card: Card) -> str:
    rows = card.data["rows"]
    lines = [
        f"It knows what {rows:,} rows told it, and nothing of what has changed since.",
        "A text that training did not see is answered as if it were none of those that it saw.",
        "It has learned what goes together, and not what is the cause of what.",
    ]
    if contract.task == "classification":
        lines.append("A probability is as good as the calibration above says, for rows like these.")
    return listed(lines)


def _origin(card: Card) -> str:
    served = "ONNX Runtime" if card.runtime == "onnx" else f"its own library: {card.reason}"
    lines = [
        f"trained {card.created} from commit {card.git_sha[:12] or 'unknown'}, MLflow run {card.run_id}",
        f"served by {served}",
        f"bundle sha256 {card.bundle_sha256}",
        f"libraries: {', '.join(f'{name} {version}' for name, version in card.libraries.items())}",
    ]
    return listed(lines)
