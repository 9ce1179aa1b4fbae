"""What `make new` writes: [data] and [quality] of pipeline.toml, and src/model."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil, floor, log10
from pathlib import Path

from pipeline.schema import METRICS, Task
from training.new.columns import Column
from training.new.proposal import Proposal
from training.new.trial import Trial

WIDTH = 110
LINE = 120  # letters of code, at most
METRIC = {"classification": "roc_auc", "regression": "r2"}
CONSTANT = {"roc_auc": 0.5, "r2": 0.0}  # what an answer reaches that is the same for all rows
LEAST = 0.002  # of a standard error
PERFECT = 0.9995  # of 1, from which a model knows more than it should, maybe
OUT = 30  # columns that are left out with a reason beside
SHOWN = 40  # letters of a text in an example
LONG = 52  # letters of a name as code, that fits on a line beside it

DATA = '''"""What the columns of {path} mean. Training and serving both call `derive`, so they cannot differ."""

from collections.abc import Mapping
{imports}from typing import Any
{constants}

def derive(record: Mapping[str, Any]) -> dict[str, Any]:
    """One record as the model sees it, from one record as the file has it.

    A number is a float, a text a str, a boolean a bool, a date a datetime; None where the cell is empty. Return numbers
    and texts, the same keys for every record. Keep to plain Python: this runs on every request, in an image that holds
    no pandas. `make test` checks the examples.

{examples}
    """
    columns = dict(record)
{starts}{dates}    return columns
'''
STARTS = """
    # The model tells whole numbers apart up to 16,777,216: these are counted from where they begin.
{loop}:
        if columns[name] is not None:
            columns[name] -= start
"""
DATES = """
    # A date is no number: how long ago it was, and where in the year, the week and the day.
{loop}:
        when = columns.pop(name)
        columns[f"{{name}}{between}day"] = when and (when - START).total_seconds() / 86_400
        columns[f"{{name}}{between}month"] = when and when.month
        columns[f"{{name}}{between}weekday"] = when and when.weekday()
{clock}"""
CLOCK = """        columns[f"{{name}}{between}hour"] = when and when.hour + when.minute / 60
"""
BETWEEN = (" ", "_", ": ", " of date: ")  # a date's name and what it tells, the first that is no column's name


def data_section(path: str, proposal: Proposal) -> str:
    """[data] of pipeline.toml."""
    seen, numerals, target, columns = proposal
    kept = [each for each in columns if each.kind]
    lines = [f"sql = {_toml(seen.found.sql)}" if seen.found.sql else f"path = {_toml(path)}"]
    marks = (
        ("separator", seen.found.separator, ","),
        ("encoding", seen.found.encoding, "utf-8"),
        ("decimal", numerals.point, "."),
        ("thousands", numerals.thousands, ""),
    )
    lines += [f"{key} = {_toml(sign)}" for key, sign, usual in marks if sign != usual]
    lines += [f'task = "{target.task}"', f"target = {_toml(target.name)}"]
    if target.positive:
        lines.append(f"positive = {_toml(target.positive)} # the class that you look for")
    if target.classes:
        lines.append(_list("classes", target.classes))
    lines.append("# The columns that the service is sent, by name, with the file's own values.")
    of = {key: [each.name for each in columns if each.kind == kind] for key, kind in KEYS.items()}
    lines += [_list(key, names) for key, names in of.items() if names]
    if forms := {each.name: each.form for each in columns if each.form}:
        lines.append(_table("date_formats", forms))
    missing_of = {each.name: each.missing for each in kept} | {target.name: target.missing}
    words = {name: missing for name, missing in missing_of.items() if missing}
    usual = _everywhere(words, {name: seen.texts[name] for name in missing_of})
    if usual:
        lines.append(_list("missing", usual))
    if rest := {name: left for name, each in words.items() if (left := [word for word in each if word not in usual])}:
        lines.append(_table("missing_in", rest))
    lines += [f"# Left out: {each.shown}, {each.why}." for each in columns if each.kind is None][:OUT]
    lines += [f"# Look at {each.shown}: {each.doubt}." for each in kept if each.doubt][:OUT]
    return "[data]\n" + "\n".join(lines) + "\n"


def _everywhere(words: Mapping[str, Sequence[str]], texts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Words that stand for a missing value in several columns, and for something else in none."""
    several = sorted({word for each in words.values() for word in each if not any(map(str.isdigit, word))})
    return [
        word
        for word in several
        if sum(word in each for each in words.values()) > 1
        and all(word in words.get(name, ()) for name, known in texts.items() if word in known)
    ]


KEYS = {"numeric": "number", "text": "text", "boolean": "boolean", "date": "date"}  # of [data], by kind


def quality_section(task: Task, trial: Trial | None) -> str:
    """[quality] of pipeline.toml. trial: what a first model reaches; None: nothing is known yet."""
    floor, step = floor_and_tolerance(trial) if trial else (-1e9, 0.0)
    reached = f"; a first model reaches {trial.value:.3g}, a constant {CONSTANT[METRIC[task]]:g}" if trial else ""
    others = ", ".join(name for name in METRICS[task] if name != METRIC[task])
    return (
        "[quality] # a worse model is not registered\n"
        f'metric = "{METRIC[task]}" # or {others}\n'
        f"floor = {floor:g} # the worst value that passes{reached}\n"
        f"tolerance = {step:g} # how much worse than the champion still passes\n"
    )


def floor_and_tolerance(trial: Trial) -> tuple[float, float]:
    """A round number below what the trial reached by two standard errors, and one error, rounded up.

    Where the trial is better than a constant, the floor is no worse than that.
    """
    spread = max(trial.spread, LEAST, 0.5 / trial.rows)  # where no row was wrong, resampling shows no error
    digits = max(0, -floor(log10(spread / 3)))
    unit = 10.0**-digits
    lowest = floor((trial.value - 2 * spread) / unit) * unit
    if trial.value > (constant := CONSTANT[trial.metric]):
        lowest = max(lowest, constant)
    return round(lowest, digits), round(ceil(spread / unit) * unit, digits)


def doubt(trial: Trial) -> str:
    """What a person should ask about it; empty: nothing."""
    constant = CONSTANT[trial.metric]
    if trial.value < constant + 2 * trial.spread:
        what = "a first model is no better than a constant, or not surely so: the floor stops next to nothing"
        tail = "; a few huge values may be why: look at them, or predict the logarithm" if trial.metric == "r2" else ""
        return what + tail
    if trial.value > PERFECT:
        return f"a first model reaches {trial.value:.5g}: does a column, or some together, give the target away?"
    return ""


def with_sections(settings: str, **sections: str) -> str:
    """pipeline.toml with sections exchanged, comments and all."""
    for name, section in sections.items():
        old = section_of(settings, name)
        settings = settings.replace(old, f"{section}\n", 1) if old else f"{settings}\n{section}"
    return settings.rstrip() + "\n"


def section_of(settings: str, name: str) -> str:
    """A section of pipeline.toml as it stands there; empty where there is none."""
    match = re.search(rf"^\[{name}\].*?(?=^\[|\Z)", settings, re.DOTALL | re.MULTILINE)
    return match[0] if match else ""


def data_module(name: str, columns: Sequence[Column], records: Sequence[Mapping[str, object]]) -> str:
    """src/model/data.py: every column as it is, a date as numbers, and examples out of the file."""
    dates = [each.name for each in columns if each.kind == "date"]
    starts = {each.name: each.start for each in columns if each.start}
    clock = any(each.clock for each in columns)
    between = _between(dates, [each.name for each in columns if each.kind])
    examples = "\n".join(_example(record, dates, starts, between) for record in records)
    module = DATA.format(
        path=name if re.fullmatch(r"[\w./ :*-]+", name) and _fits(name) else "the data file",
        imports="from datetime import datetime\n" if dates else "",
        constants="\nSTART = datetime(1970, 1, 1)\n" if dates else "",
        examples=examples,
        starts=STARTS.format(loop=_tuple("    for name, start in ", [*starts.items()])) if starts else "",
        dates=DATES.format(
            loop=_tuple("    for name in ", dates),
            between=between,
            clock=CLOCK.format(between=between) if clock else "",
        )
        if dates
        else "",
    )
    return _excused(module)


def _between(dates: Sequence[str], names: Sequence[str]) -> str:
    parts = ("day", "month", "weekday", "hour")
    return next(each for each in BETWEEN if not {f"{date}{each}{part}" for date in dates for part in parts} & {*names})


def estimator_module(columns: Sequence[Column]) -> str:
    """src/model/estimator.py: words of free texts, trees where there are none."""
    free = [each for each in columns if each.free and each.kind]
    source = Path(__file__).with_name("words.py" if free else "trees.py").read_text(encoding="utf-8")
    if not free:
        return source
    if not all(each.spaced for each in free):  # letters and pairs of them, where no space says what a word is
        source = source.replace("TfidfVectorizer(", 'TfidfVectorizer(analyzer="char", ngram_range=(1, 2), ')
    names = _tuple("FREE = ", [each.name for each in free])
    return re.sub(r"^FREE = \(.*?\)", lambda _: names, source, flags=re.MULTILINE)


def _example(record: Mapping[str, object], dates: Sequence[str], starts: Mapping[str, int], between: str) -> str:
    """dates, starts: the columns that `derive` does not leave as they are."""
    others = {*dates, *starts}
    record = {name: _cut(value) if isinstance(value, str) else value for name, value in record.items()}
    record = {name: value for name, value in record.items() if len(_python(name)) <= LONG or name in others}
    items = [f"{_python(name)}: {_python(value)}," for name, value in record.items()]
    lines = ["    >>> record = {", *(f"    ...     {line}" for line in _filled(items)), "    ... }"]
    if others:
        for name in [name for name in record if name not in others][:1]:
            lines += [f"    >>> derive(record)[{_python(name)}] == record[{_python(name)}]", "    True"]
        for name, value in [(name, value) for name in starts if isinstance(value := record[name], (int, float))][:1]:
            lines += [f"    >>> derive(record)[{_python(name)}]", f"    {value - starts[name]!r}"]
        for name, value in [(name, value) for name in dates if isinstance(value := record[name], datetime)][:1]:
            lines += [f"    >>> derive(record)[{_python(f'{name}{between}month')}]", f"    {value.month}"]
    else:
        lines += ["    >>> derive(record) == record", "    True"]
    return "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def description(target: str) -> str:
    """Of pipeline.toml."""
    return f'description = "Predicts {plain(target)}."'


def plain(text: str) -> str:
    """A text as it may stand in a description, of a file or of an image's label."""
    return " ".join(re.sub(r'["\\\x00-\x1f]', " ", text).split())


def _python(value: object) -> str:
    """A value as code, in letters that nobody takes for others."""
    if isinstance(value, datetime):
        parts = 6 if value.second else 5 if value.hour or value.minute else 3
        return f"datetime({', '.join(map(str, value.timetuple()[:parts]))})"
    if isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False)
        if '"' in value and "'" not in value:
            quoted = "'" + quoted[1:-1].replace('\\"', '"') + "'"
        return "".join(each if _is_plain(each) else each.encode("unicode_escape").decode() for each in quoted)
    if isinstance(value, tuple):
        return f"({', '.join(map(_python, value))})"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:_}"
    return repr(value)


def _is_plain(letter: str) -> bool:
    return letter.isprintable() and (letter.isascii() or (letter.isalpha() and ord(letter) < 0x250))


def _cut(text: str) -> str:
    """The start of a text, which is short as code as well."""
    while len(_python(text)) > SHOWN + 2:
        text = text[: max(len(text) - 8, len(text) // 2)]
    return text


def _fits(path: str) -> bool:
    return all(map(_is_plain, path)) and len(DATA.splitlines()[0].format(path=path)) <= LINE


def _excused(module: str) -> str:
    """With a word to the linter behind what is too long, as a name that `derive` has to have may be."""
    lines, end = module.split("\n"), 0
    begin = next(n for n, line in enumerate(lines) if line.startswith("def "))
    end = next(n for n, line in enumerate(lines) if n > begin + 1 and line.strip() == '"""')
    long = {n if n > end else end for n, line in enumerate(lines) if len(line) > LINE}
    return "\n".join(f"{line}  # noqa: E501" if n in long else line for n, line in enumerate(lines))


def _tuple(before: str, values: Sequence[object]) -> str:
    """Values as ruff lays them out behind the start of a line."""
    items, indent = [*map(_python, values)], " " * (len(before) - len(before.lstrip()))
    short = f"({', '.join(items)}{',' * (len(items) == 1)})"
    if len(before + short) < LINE:
        return before + short
    return "\n".join([f"{before}(", *(f"{indent}    {item}," for item in items), f"{indent})"])


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(key: str, names: Sequence[str]) -> str:
    items = [f"{_toml(name)}," for name in names]
    short = f"{key} = [{' '.join(items).removesuffix(',')}]"
    return short if len(short) <= WIDTH else "\n".join([f"{key} = [", *(f"  {line}" for line in _filled(items)), "]"])


def _table(key: str, values: Mapping[str, object]) -> str:
    items = [f"{_toml(name)} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return f"{key} = {{ {', '.join(items)} }}"


def _filled(items: Sequence[str]) -> list[str]:
    """Items side by side, as many as fit on a line."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > WIDTH - 15:
            lines.append("")
        lines[-1] += f" {item}" if lines[-1] else item
    return lines
