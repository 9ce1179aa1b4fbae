"""What a column of a file is, by the texts that stand in it: a kind, or a reason to leave it out."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline import values
from pipeline.bundle import LARGEST, WHOLE
from pipeline.schema import Kind
from training.cells import PLAIN, Numerals
from training.source.rows import MISSING

DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y", "%m/%d/%y", "%d/%m/%y")
LONG_DATES = ("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%y", "%a %b %d %Y", "%Y%m%d")
TIMES = ("", " %H:%M:%S", " %H:%M", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
IDENTIFIER = re.compile(
    r"(?i:(^|[\W_])(id|uuid|guid|key|index|row|no|nr|number|unnamed: \d+)$|^id[\W_]|num$)|[a-z](Id|ID|Key)$|^$"
)
BARE = r"(\d{1,3}([.,' \u00a0\u202f]\d{3})+|(?!0\d)\d+)([.,]\d+)?"  # a number without its sign
UNIT = re.compile(rf"[-+]?[$€£¥]?\s?[-+]?{BARE}\s?(%|[$€£¥]|[^\W\d]{{1,4}}[²³]?)?|\([$€£¥]?{BARE}\)")
MOST = 0.9  # of a column's texts, that make the rest of them look like a slip
CODE = re.compile(r"(?i)zip|post(al)?.?code|phone|(^|[\W_])(code|zip|plz)$|[a-z]Code$")
SENTINELS = (-9.0, -99.0, -999.0, -9999.0, -99999.0)  # numbers below zero that say "not known"
FEW = 20  # rows, in which nothing can be said of how texts repeat
EXACT = 2**53  # from which Python, too, takes whole numbers for others
ODD = 3  # different texts among numbers that may be words for a missing value
WORDS = 5  # of a free text, on average
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")  # Thai to Chinese
LETTERS = 2  # of a word, where no space ends it
# In a text as well, where "none" and "unknown" are answers, and Nan is a province.
ABSENT = {"NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "#N/A", "<NA>", "?"}

Texts = Mapping[str, int]  # how often each text stands in a column


class Column(NamedTuple):
    """What is proposed for a column of the file."""

    name: str
    kind: Kind | None  # None: it is left out
    why: str = ""  # what there is to say about it
    form: str = ""  # of dates
    missing: tuple[str, ...] = ()  # words that stand for a missing value
    free: bool = False  # a text in sentences
    spaced: bool = True  # with spaces between its words
    clock: bool = False  # dates with a time of day
    start: int = 0  # which `derive` subtracts
    doubt: str = ""  # what a person should ask about it
    odd: str = ""  # why it is a text, where it looks like something else

    @property
    def shown(self) -> str:
        return self.name if self.name.strip() and self.name.isprintable() else repr(self.name)


def look(name: str, texts: Texts, numerals: Numerals = PLAIN) -> Column:
    """What a column is. numerals: how its numbers are written."""
    present: Counter[str] = Counter()
    for text, count in texts.items():
        present[text.strip()] += count
    present.pop("", None)
    words = tuple(sorted(text for text in present if text.lower() in MISSING))
    known = {text: count for text, count in present.items() if text not in words}
    if not known:
        return Column(name, None, "it is empty", missing=words)
    if len(known) == 1 and sum(known.values()) == sum(texts.values()):
        return Column(name, None, f"every row says {next(iter(known))[:40]!r}")
    return (
        _boolean(name, known, words)
        or _numbers(name, known, words, sum(texts.values()), numerals)
        or _dates(name, known, words)
        or _texts(name, dict(present), _odd(known, numerals))
    )


def _boolean(name: str, known: Texts, words: tuple[str, ...]) -> Column | None:
    if len(known) != 2 or {values.BOOLEANS.get(text.lower()) for text in known} != {True, False}:
        return None
    return Column(name, "boolean", _why("", words), missing=words)


def _numbers(name: str, known: Texts, words: tuple[str, ...], rows: int, numerals: Numerals) -> Column | None:
    texts = list(known)
    numbers = _parsed(texts, numerals)
    good = np.abs(numbers) <= LARGEST
    odd = [text for text, fine in zip(texts, good, strict=True) if not fine]
    if odd:  # a word or two that somebody wrote for a missing number
        share = sum(known[text] for text in odd) / sum(known.values())
        if len(odd) > ODD or share > 0.5 or not good.any() or any(re.search(r"\d", text) for text in odd):
            return None
        words = (*words, *sorted(odd))
    counts = np.array([known[text] for text in texts])[good]
    numbers = numbers[good]
    whole = bool((numbers == np.floor(numbers)).all())
    if any(re.fullmatch(r"0\d+", text) for text in texts) or (whole and len(numbers) > FEW and CODE.search(name)):
        return Column(name, "text", _why("a code, and no number", words), missing=words)
    each_once = counts.max() == 1 and counts.sum() == rows > FEW
    steps = np.unique(np.diff(np.sort(numbers)))
    if whole and each_once and len(steps) == 1:
        return Column(name, None, "it numbers the rows")
    if whole and IDENTIFIER.search(name) and len(numbers) > 0.5 * rows and rows > FEW:
        return Column(name, None, "an identifier")
    if (low := numbers.min()) in SENTINELS and len(numbers) > 2 and np.sort(numbers)[1] >= 0:
        words, numbers = (*words, f"{low:g}"), numbers[numbers != low]
    start = _start(numbers) if whole else 0
    why = f"counted from {start:,}: the model tells no numbers apart that are as large" if start else ""
    return Column(name, "number", _why(why, words), missing=words, start=start)


def _parsed(texts: Sequence[str], numerals: Numerals) -> np.ndarray:
    """Numbers, NaN for what is none."""
    return np.asarray(pd.to_numeric(np.array(numerals.plain(texts), object), errors="coerce"), float)


def _start(whole: np.ndarray) -> int:
    """A round number at or below the smallest, from which all of them are such as a float32 tells apart.

    0 where they are so as they stand, or by no start.
    """
    low, high = whole.min(), whole.max()
    if high >= EXACT or (whole == whole.astype(np.float32)).all():
        return 0
    unit = 10 ** int(np.log10(max(high - low, 1)))
    start = int(low // unit * unit)
    return start if high - start <= WHOLE else 0


def _dates(name: str, known: Texts, words: tuple[str, ...]) -> Column | None:
    texts = list(known)
    if not all(re.search(r"\d", text) and re.search(r"[-/.:, ]", text) and 6 <= len(text) <= 40 for text in texts):
        return None
    clock = any(re.search(r"\d:\d", text) and not re.search(r"(?<![\d:])00:00(:00)?", text) for text in texts)
    if all(_is_date(text, "") for text in texts):
        return Column(name, "date", _why("", words), missing=words, clock=clock)
    fits = [
        form
        for form in (date + time for time in TIMES for date in DATES + LONG_DATES)
        if _is_date(texts[0], form) and all(_is_date(text, form) for text in texts)
    ]
    if not fits:
        return None
    doubt = {datetime(2001, 2, 3).strftime(form) for form in fits}
    why = f"taken as {fits[0]}, though {fits[1]} would fit as well" if len(doubt) > 1 else f"as {fits[0]}"
    return Column(name, "date", _why(why, words), fits[0], words, clock=clock)


def _is_date(text: str, form: str) -> bool:
    try:
        if form:
            datetime.strptime(text, form)
        else:
            values.date(text)
    except ValueError:
        return False
    return True


def _odd(known: Texts, numerals: Numerals) -> str:
    """What is said of texts that look like numbers or dates: what they are written as, or which are none."""
    texts = list(known)
    good = np.abs(_parsed(texts, numerals)) <= LARGEST
    written = [text for text, fine in zip(texts, good, strict=True) if not fine]
    if written and all(UNIT.fullmatch(text) for text in texts):
        return f"numbers that are written as {written[0]!r}: write them as 1234.5 in the file"
    few = texts[:FEW]
    dates = [_is_date(text, "") for text in (texts if any(_is_date(text, "") for text in few) else few)]
    for fine, what in ((good.tolist(), "numbers"), (dates, "dates")):
        if len(fine) < len(texts):  # none of a few is one
            continue
        wrong = [text for text, each in zip(texts, fine, strict=True) if not each]
        if len(texts) > FEW and wrong and len(wrong) <= (1 - MOST) * len(texts):
            others = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            shown = ", ".join(repr(text[:40]) for text in wrong[:3]) + others
            return f"{what}, but for {shown}: correct them in the file, or empty their cells"
    return ""


def _texts(name: str, present: dict[str, int], odd: str) -> Column:
    absent = tuple(sorted(text for text in present if text in ABSENT))
    known = {text: count for text, count in present.items() if text not in absent}
    if absent == ("NA",) and all(re.fullmatch("[A-Z]{2}", text) for text in known):
        absent, known = (), present  # Namibia, North America
    rows, different = sum(known.values()), len(known)
    spaced = sum(len(text.split()) * count for text, count in known.items()) / rows
    unspaced = sum(len(UNSPACED.findall(text)) * count for text, count in known.items()) / rows / LETTERS
    if rows > FEW and max(spaced, unspaced) >= WORDS and different > 0.5 * rows:
        length = f"{spaced:.0f} words" if spaced > unspaced else f"{LETTERS * unspaced:.0f} letters"
        why = _why(f"free text, {length} on average", absent)
        return Column(name, "text", why, missing=absent, free=True, spaced=spaced > unspaced)
    if rows > FEW and different > 0.5 * rows:
        names = f"{different:,} different texts in {rows:,} rows: it names rows, and groups none"
        return Column(name, None, odd or names, odd=odd)
    return Column(name, "text", _why("", absent), missing=absent, doubt=odd, odd=odd)


def _why(what: str, words: tuple[str, ...]) -> str:
    missing = f"{', '.join(map(repr, words))} for a missing value" if words else ""
    return "; ".join(filter(None, (what, missing)))
