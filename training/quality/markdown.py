"""The model's part of a comment, of a step's summary and of reports/model.md."""

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
WORST = 5  # slices that are not folded away
FIRST = 4  # metrics that are not folded away
MINUS = "\N{MINUS SIGN}"


def icon(model: Model) -> str:
    """Of an outcome; one that cannot be told, and stops, is a failure."""
    return ICONS["fail" if not model.passed else model.outcome]


def markdown(model: Model) -> str:
    """reports/model.md."""
    return f"### {icon(model)} Model: {sentence(model.sentence)}\n\n{part(model)}\n"


def part(model: Model) -> str:
    """All but the first line."""
    shown = [each for each in model.metrics if each.name == model.judged]
    others = [each for each in model.metrics if each.name != model.judged]
    rest = others[FIRST - 1 :]
    parts = [_table(model, [*shown, *others[: FIRST - 1]])] if model.metrics else []
    parts += [_judged_on(model)] if model.rows else []
    parts += [listed(model.notes)] if model.notes else []
    worst = [each for each in model.slices if each.outcome]
    parts += [_slices(model, worst[:WORST])] if worst else []
    parts += (
        [folded(f"{len(model.slices)} slices, the worst first", _slices(model, model.slices))] if model.slices else []
    )
    parts += [folded("More metrics", _table(model, rest))] if rest else []
    return "\n\n".join(parts)


def _judged_on(model: Model) -> str:
    if model.champion:
        rows = f"{model.compared:,} of {model.rows:,}" if model.compared < model.rows else f"{model.rows:,}"
        return f"Both versions answered the same {rows} held-out rows. Intervals: paired bootstrap."
    return f"On {model.rows:,} held-out rows. Intervals: bootstrap."


def _table(model: Model, metrics: list[Metric]) -> str:
    paired = bool(model.champion)
    arms = [f"champion<br>{quoted(f'version {model.champion}')}", "candidate", "change"] if paired else ["candidate"]
    rows = [["", *arms, "95 % interval"]]
    for each in metrics:
        name = NAMES.get(each.name) or quoted(each.name)
        both = [number(each.champion), number(each.candidate), signed(each.change)]
        low, high = each.interval or (None, None)
        shown = signed if paired else number
        span = f"{shown(low)} … {shown(high)}" if each.interval else ""
        cells = [f"**{name}**" if each.name == model.judged else name, *(both if paired else both[1:2]), span]
        rows.append(cells)
    return table(rows, "l" + "r" * len(arms) + "c")


def number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """A difference: two digits are all that is known of it."""
    if value is None:
        return ""
    return ("±" if value == 0 else MINUS if value < 0 else "+") + f"{abs(value):.2g}"


def _slices(model: Model, slices: list[Slice]) -> str:
    paired = bool(model.champion)
    arms = ["champion", "candidate", "change"] if paired else ["candidate"]
    rows = [["slice", "rows", *arms, "interval", ""]]
    for each in slices:
        low, high = each.interval or (None, None)
        shown = signed if paired else number
        both = [number(each.champion), number(each.candidate), signed(each.change)]
        marks = {"": "", "worse": "⚠️ surely worse", "fail": "❌"}
        cells = [f"{quoted(each.by, 40)} {quoted(each.value, 60)}", f"{each.rows:,}", *(both if paired else both[1:2])]
        rows.append([*cells, f"{shown(low)} … {shown(high)}" if each.interval else "", marks[each.outcome]])
    name = NAMES.get(model.judged, model.judged)
    return f"{name} by slice; all intervals hold at once, in 95 % of the cases.\n\n" + table(
        rows, "lr" + "r" * len(arms) + "cl"
    )
