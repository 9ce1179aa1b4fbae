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
WORST, SHOWN = 5, 40  # slices that are not folded away, and that are
FIRST = 4  # metrics that are not folded away
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
    worst = [each for each in model.slices if each.outcome][:WORST]
    parts = [_table(model, first)] if first else []
    parts += [_judged_on(model)] if model.rows else []
    parts += [listed(model.notes)] if model.notes else []
    return parts + ([_slices(model, worst)] if worst else [])


def hidden(model: Model) -> list[str]:
    """What is folded away."""
    _, rest = _parted(model)
    parts = []
    if model.slices:
        parts.append(folded(f"{len(model.slices)} slices, the worst first", _slices(model, model.slices)))
    if model.changed:
        parts.append(folded("What changed since the champion", listed(model.changed)))
    if model.moved:
        parts.append(folded("The rows whose answers moved most", _moved(model)))
    return parts + ([folded("More metrics", _table(model, rest))] if rest else [])


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
    for each in slices[:SHOWN]:
        marks = {"": "", "worse": "⚠️ surely worse", "fail": "❌"}
        what = f"{quoted(each.by, 40)} {quoted(each.value, 60)}"
        rows.append([what, f"{each.rows:,}", *_figures(each, paired), marks[each.outcome]])
    name = NAMES.get(model.judged) or quoted(model.judged)
    more = f"\n\nand {len(slices) - SHOWN} more in model.json" if len(slices) > SHOWN else ""
    about = f"{name} by slice; all intervals hold at once, in 95 % of the cases."
    return f"{about}\n\n{table(rows, 'lr' + 'r' * len(arms) + 'cl')}{more}"
