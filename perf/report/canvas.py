"""What the pictures of report.html share: the colours of the page, an axis of milliseconds, SVG with text as text."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

# Colours that matplotlib is given and that the style sheet then takes over, so that pictures follow the reader's theme.
INK, SOFT, GRID, CANDIDATE, BASELINE, BAD, GOOD, WARN = (f"#01020{n}" for n in range(8))
VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    GRID: "--grid",
    CANDIDATE: "--candidate",
    BASELINE: "--baseline",
    BAD: "--bad",
    GOOD: "--good",
    WARN: "--warn",
}
COLOURS = {"baseline": BASELINE, "candidate": CANDIDATE}  # in the order in which they are drawn
DASHES = {"baseline": (4.0, 1.6), "candidate": ()}  # and marks, so that nobody needs the colours
MARKERS = {"baseline": "s", "candidate": "o"}
NARROW = (4.9, 3.5)  # inches; at 360 pixels, letters of 11 points are still 10 pixels high
PLACES = re.compile(r' (?:d|x|y|transform)="[^"]*"')  # in points, of which more than two decimals are only bytes
WIDE_SPAN = 4.0  # the largest over the smallest value, from which an axis is logarithmic


@contextmanager
def canvas(size: tuple[float, float] = NARROW) -> Iterator[tuple[Figure, Axes]]:
    """A figure of `size` inches with one pair of axes, while it is drawn."""
    style = {
        "font.size": 11,
        "axes.edgecolor": SOFT,
        "axes.labelcolor": SOFT,
        "text.color": INK,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "none",
        "svg.fonttype": "none",
    }
    with rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.add_subplot()


def milliseconds(axes: Axes, name: Literal["x", "y"], low: float, high: float) -> bool:
    """Makes an axis that is to show latencies from `low` to `high`: logarithmic where they differ by much; says so."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    wide = 0 < WIDE_SPAN * low < high
    if wide:
        axes.set(**{f"{name}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,), numticks=6))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    return wide


def svg(figure: Figure, name: str, words: str) -> str:
    """The figure as inline SVG in the colours of the page. `name`: of no other picture; `words`: for who cannot see."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = PLACES.sub(lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text[text.index("<svg") :])
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    used = set(re.findall(r"#([\w-]+)", text))  # the others would be there once for each picture
    text = re.sub(r' id="([\w-]+)"', lambda found: found[0] if found[1] in used else "", text)
    text = re.sub(r"font-family: [^;]*;|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.S)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1)


def framed(title: str, drawn: str, caption: str, kind: str = "") -> str:
    """A picture with what to see in it above, and, in HTML, how to read it below."""
    return f'<figure class="{kind}"><h2>{prose(title)}</h2>{drawn}<figcaption>{caption}</figcaption></figure>'


def prose(text: str) -> str:
    """Text as HTML, in which no line begins with the unit of a number."""
    return re.sub(r"(?<=\d) (?=%|ms\b)", "&nbsp;", escape(text))


def named(name: str) -> str:
    """The name of an arm in its colour."""
    return f'<b class="{name}">{name}</b>'
