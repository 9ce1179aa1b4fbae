"""What is to be predicted, and which columns give it away."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.tree import DecisionTreeClassifier

from pipeline import values
from pipeline.schema import Task
from training.new.columns import Column, Texts
from training.source.rows import DataError

RARE = 8  # rows of a class with fewer teach nothing, and judge nothing
CLASSES = 200  # in a first model that somebody waits for: boosted trees grow a tree for each, 200 times over
NUMBER = re.compile(r"[-+]?\d+")
FRACTION = re.compile(r"\d[.,]\d*[1-9]")
NUMBERS = 20  # different numbers that are no classes any more
DECIDED = 0.999  # of the rows, or of the ranks: what says so much of the target is the target
NEARLY = 0.98  # likewise: what a person should have a look at
FEW = 10  # rows without a target, in which nothing can be said of who else is empty there
ASK = "leave it out if nobody knows it before"

Wanted = Literal["", "classification", "regression"]


class Target(NamedTuple):
    name: str
    task: Task
    why: str
    positive: str = ""
    classes: tuple[str, ...] = ()  # to be learned; none: all that there are
    missing: tuple[str, ...] = ()  # words that stand for a missing value


def decide(column: Column, texts: Texts, wanted: Wanted = "") -> Target:
    """What the target is: a class or a number. Raises DataError where it is neither."""
    name = column.name
    present: Counter[str] = Counter()
    for text, count in texts.items():
        if text.strip() and text.strip() not in column.missing:
            present[text.strip()] += count
    if not present:
        words = ", ".join(map(repr, column.missing))
        but = f", or says {words}: such words stand for a missing value, and for no class" if words else ""
        raise DataError(f"the target {name!r} is empty in every row{but}")
    if len(present) == 1:
        raise DataError(
            f"the target {name!r} says {next(iter(present))[:40]!r} in every row: there is nothing to learn"
        )
    fractions = column.kind == "number" and len(present) > 2 and any(map(FRACTION.search, present))
    many = len(present) > NUMBERS or fractions
    first = next(iter(present))
    rows = sum(present.values())
    gaps = sum(texts.values()) - rows
    words = f" ({', '.join(map(repr, column.missing))})" if column.missing else ""
    without = f"; {gaps:,} rows without one{words} are left out" if gaps else ""
    number = column.kind == "number" or (column.kind is None and bool(NUMBER.fullmatch(first)))
    if wanted == "regression" or (not wanted and number and many):
        if not number and not all(map(NUMBER.fullmatch, present)):
            holds = column.odd or "texts, and a regression predicts numbers"
            raise DataError(f"the target {name!r} holds {holds}")
        why = f"{len(present):,} different numbers: a regression{without}"
        return Target(name, "regression", why, missing=column.missing)
    usual = sorted(text for text, count in present.items() if count >= RARE)
    if len(usual) < 2 and column.odd:
        raise DataError(f"the target {name!r} holds {column.odd}")
    if len(usual) < 2:
        raise DataError(
            f"the target {name!r} has {len(present):,} different values in {rows:,} rows. A class needs "
            f"{RARE} rows, and {len(usual) or 'none'} of them has so many: there is no class to learn"
        )
    if len(usual) > CLASSES:
        raise DataError(
            f"the target {name!r} has {len(usual):,} classes with {RARE} rows or more, and a model of more than "
            f"{CLASSES} takes hours: group them in the file, or leave rows of the rarer ones out"
        )
    left = len(present) - len(usual)
    why = f"{len(usual)} classes: {_shares(present, usual, rows)}"
    if left:
        why += f"; {left} others with fewer than {RARE} rows are left out"
    if number and len(present) > 2 and not wanted:
        why += "; to predict the number instead: TASK=regression"
    classes = tuple(usual) if left else ()
    return Target(name, "classification", why + without, _positive(present, usual), classes, column.missing)


def _shares(present: Texts, usual: Sequence[str], rows: int) -> str:
    shown = sorted(usual, key=lambda text: present[text], reverse=True)[:5]
    text = ", ".join(f"{name[:40]!r} {_percent(present[name] / rows)}" for name in shown)
    return text + (", …" if len(usual) > len(shown) else "")


def _percent(share: float) -> str:
    return f"{share:.0%}" if 0.01 <= share <= 0.99 or share == 1 else f"{share:.2%}"


def _positive(present: Texts, usual: Sequence[str]) -> str:
    """Of two classes, the one that says yes, or else the rarer one."""
    if len(usual) != 2:
        return ""
    yes = [text for text in usual if values.BOOLEANS.get(text.strip().lower())]
    return yes[0] if len(yes) == 1 else min(usual, key=lambda text: present[text])


def tells(column: Column, cells: Sequence[str], target: Sequence[str], task: Task) -> Column:
    """The column, left out where it must be the target under another name, with a doubt where it may be.

    cells, target: of some rows that have a target, one for each, numbers with a decimal point.
    """
    if column.free:  # that texts with one answer may begin alike is what a model is to learn
        return column
    if task == "regression":
        share, usual = _order(column, cells, target), 0.0
        what = "it orders the rows as the target does, or the other way round"
    else:
        share, usual = _hits(column, cells, target)
        what = f"it alone tells the target in {share:.1%} of the rows"
    if share > DECIDED and share > usual + (1 - usual) / 2:
        return column._replace(kind=None, why=what)
    if share > NEARLY and share > usual + (1 - usual) * 3 / 4:
        return column._replace(doubt=f"{what.replace('rows as', 'rows nearly as')}: {ASK}")
    return column


def _order(column: Column, cells: Sequence[str], target: Sequence[str]) -> float:
    """Spearman's correlation with the target, without its sign."""
    feature, goal = _feature(column, cells), pd.to_numeric(pd.Series(target), errors="coerce")
    both = np.isfinite(feature) & np.isfinite(goal)
    if column.kind != "number" or both.sum() < 10 or min(len(set(feature[both])), len(set(goal[both]))) < 2:
        return 0.0
    return abs(float(spearmanr(feature[both], goal[both]).statistic))


def _hits(column: Column, cells: Sequence[str], target: Sequence[str]) -> tuple[float, float]:
    """In how many rows the column tells the class, learned from the other half of them; and the commonest class."""
    truth = pd.Series(target)
    if len(truth) < 20:
        return 0.0, 0.0
    half, feature = np.arange(len(truth)) % 2 == 0, _feature(column, cells)
    leaves = 2 * truth.nunique() + 2 if column.kind in ("number", "date") else None
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, random_state=0)
    with warnings.catch_warnings():  # of many classes, that they could be a regression's
        warnings.filterwarnings("ignore", message="The number of unique classes is greater")
        tree.fit(feature[half, None], truth[half])
    usual = (truth[~half] == truth[half].mode()[0]).mean()
    return float(tree.score(feature[~half, None], truth[~half])), float(usual)


def goes_with(column: Column, cells: Sequence[str], target: Sequence[str], missing: Sequence[str]) -> bool:
    """Whether a column is empty where the target is, and hardly ever else. missing: words of the target's."""
    empty = np.array([not text.strip() or text.strip() in column.missing for text in cells])
    without = np.array([not text.strip() or text.strip() in missing for text in target])
    return bool(without.sum() >= FEW and empty[without].mean() > 0.8 and empty[~without].mean() < 0.01)


def _feature(column: Column, cells: Sequence[str]) -> np.ndarray:
    texts = pd.Series(cells).str.strip()
    if column.kind == "number":
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(float)
        return np.where(np.isfinite(numbers), numbers, np.nan)
    return pd.factorize(texts, sort=True)[0].astype(float)
