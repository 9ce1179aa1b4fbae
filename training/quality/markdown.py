"""The model's part of a comment, of a step's summary and of reports/model.md."""

from decimal import Decimal

from pipeline.markup import folded, listed, quoted, sentence, table
from training.quality.report import Metric, Model, Slice

ICONS = {"pass": "✅", "fail": "❌", "unsure": "⚠️"}
NAMES = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "reliability": "Brier: reliability",
    "resolution": "Brier: resolution",
    "r2": "R²",
    "mae": "MAE",
    "rmse": "RMSE",
    "coverage_90": "coverage of 90 % residuals",
}
WORST, SHOWN = 5, 40  # slices that are not folded away, and that are
FIRST = 2  # metrics that are not folded away
LOOK = '{"xyChart": {"width": 600, "height": 300}, "themeVariables": {"xyChart": {"plotColorPalette": "#0969da"}}}'
MINUS = "\N{MINUS SIGN}"


def icon(model: Model) -> str:
    """Of an outcome; one that cannot be told, and stops, is a failure."""
    return ICONS["fail" if not model.passed else model.outcome]


def markdown(model: Model) -> str:
    """reports/model.md."""
    return "\n\n".join([f"### {icon(model)} Model: {sentence(model.sentence)}", *shown(model), *hidden(model)]) + "\n"


def shown(model: Model) -> list[str]:
    """What a reader sees below the first line."""
    first, _ = _parted(model)
    parts = [_table(model, first)] if first else []
    parts += [_judged_on(model)] if model.rows else []
    parts += [listed(model.notes)] if model.notes else []
    return parts + ([_slices(model, worst)] if (worst := _worst(model)) else [])


def _worst(model: Model) -> list[Slice]:
    return [each for each in model.slices if each.outcome][:WORST]


def hidden(model: Model) -> list[str]:
    """What is folded away: in one place, since each line of a comment counts on a phone."""
    _, rest = _parted(model)
    parts = {
        f"{len(model.slices)} slices": _slices(model, model.slices) if len(model.slices) > len(_worst(model)) else "",
        "what changed": listed(model.changed),
        "the rows that moved most": _moved(model) if model.moved else "",
        "the columns that matter": _important(model) if model.importance else "",
        "more metrics": _table(model, rest) if rest else "",
        "the last promotions": _promotions(model) if len(model.promotions) > 1 else "",
    }
    there = {title: body for title, body in parts.items() if body}
    if not there:
        return []
    titles = ", ".join(there)
    sections = [f"**{title[0].upper()}{title[1:]}**\n\n{body}" for title, body in there.items()]
    return [folded(titles[0].upper() + titles[1:], "\n\n".join(sections))]


def _parted(model: Model) -> tuple[list[Metric], list[Metric]]:
    """The metrics that are shown, the judged one first, and the others."""
    judged = [each for each in model.metrics if each.name == model.judged]
    ordered = judged + [each for each in model.metrics if each.name != model.judged]
    return ordered[:FIRST], ordered[FIRST:]


def _judged_on(model: Model) -> str:
    if model.champion:
        rows = f"{model.compared:,} of {model.rows:,}" if model.compared < model.rows else f"{model.rows:,}"
        return f"Both versions answered the same {rows} held-out rows. Intervals: paired bootstrap."
    return f"On {model.rows:,} held-out rows. Intervals: bootstrap."


def _moved(model: Model) -> str:
    rows = [["row", "truth", "champion", "candidate"]]
    for each in model.moved:
        rows.append([quoted(each.place, 60), quoted(each.truth, 60), number(each.champion), number(each.candidate)])
    value = "values" if model.judged in ("r2", "mae", "rmse") else "the probability that each gave to what is true"
    return f"Of each version {value}.\n\n{table(rows, 'rlrr')}"


def _important(model: Model) -> str:
    name, paired = NAMES.get(model.judged) or quoted(model.judged), bool(model.champion)
    rows = [["column", *(["champion"] if paired else []), "candidate"]]
    for each in model.importance:
        champion = [number(each.champion, 2)] if paired else []
        rows.append([quoted(each.column, 60), *champion, number(each.candidate, 2)])
    about = (
        f"By how much {name} is worse where the column is shuffled. Columns that say the same stand in for each other."
    )
    return f"{about}\n\n{table(rows, 'l' + 'r' * (len(rows[0]) - 1))}"


def _promotions(model: Model) -> str:
    """Charts that GitHub draws by Mermaid: of numbers and of names of our own alone."""
    versions, name = [each.version for each in model.promotions], NAMES.get(model.judged, "the metric")
    p95 = [None if each.p95 is None else 100 * each.p95 / (model.promotions[0].p95 or 1) for each in model.promotions]
    charts = [chart(f"{name}, when it was promoted", versions, [each.metric for each in model.promotions])]
    charts += [chart(f"p95, in % of version {versions[0]}", versions, p95, (90, 110))]
    back = [each.version for each in model.promotions if each.rolled_back]
    about = [f"Rolled back: {', '.join(back)}."] if back else []
    return "\n\n".join([each for each in charts if each] + about)


def chart(title: str, names: list[str], values: list[float | None], least: tuple[float, float] | None = None) -> str:
    """A line over versions; empty where fewer than two have a value. least: what the axis spans at the least.

    https://mermaid.js.org/syntax/xyChart.html
    """
    known = [(name, value) for name, value in zip(names, values, strict=True) if value is not None]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    spare = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - spare, high + spare
    if least:
        low, high = min(low, least[0]), max(high, least[1])
    lines = [
        f"%%{{init: {LOOK}}}%%",
        "xychart-beta",
        f'    title "{title}"',
        f"    x-axis [{', '.join(chr(34) + name + chr(34) for name, _ in known)}]",
        f"    y-axis {_plain(low)} --> {_plain(high)}",
        f"    line [{', '.join(_plain(value) for _, value in known)}]",
    ]
    return "\n".join(["```mermaid", *lines, "```"])


def _plain(value: float) -> str:
    """Without an exponent, which Mermaid takes for a word."""
    return format(Decimal(f"{value:.5g}"), "f")


def _table(model: Model, metrics: list[Metric]) -> str:
    paired = bool(model.champion)
    arms = [f"champion<br>{quoted(f'version {model.champion}')}", "candidate", "change"] if paired else ["candidate"]
    rows = [["", *arms, "95 % interval"]]
    for each in metrics:
        name = NAMES.get(each.name) or quoted(each.name)
        rows.append([f"**{name}**" if each.name == model.judged else name, *_figures(each, paired)])
    return table(rows, "l" + "r" * len(arms) + "c")


def _figures(each: Metric | Slice, paired: bool) -> list[str]:
    """Both versions, the change and its interval; without a champion, the candidate and the interval of that."""
    both = [number(each.champion), number(each.candidate), signed(each.change)] if paired else [number(each.candidate)]
    as_text = signed if paired else number
    return [*both, " … ".join(map(as_text, each.interval)) if each.interval else ""]


def number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:,.{digits}g}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """A difference: two digits are all that is known of it."""
    if value is None:
        return ""
    return ("±" if value == 0 else MINUS if value < 0 else "+") + f"{abs(value):.2g}"


def _slices(model: Model, slices: list[Slice]) -> str:
    paired = bool(model.champion)
    arms = ["champion", "candidate", "change"] if paired else ["candidate"]
    rows = [["slice", "rows", *arms, "interval", ""]]
    for each in slices[:SHOWN]:
        marks = {"": "", "worse": "⚠️ surely worse", "fail": "❌"}
        what = f"{quoted(each.by, 40)} {quoted(each.value, 60)}"
        rows.append([what, f"{each.rows:,}", *_figures(each, paired), marks[each.outcome]])
    name = NAMES.get(model.judged) or quoted(model.judged)
    more = f"\n\nand {len(slices) - SHOWN} more in model.json" if len(slices) > SHOWN else ""
    about = f"{name} by slice; all intervals hold at once, in 95 % of the cases."
    return f"{about}\n\n{table(rows, 'lr' + 'r' * len(arms) + 'cl')}{more}"
