"""What the pictures of report.html share: the colours of the page, an axis of milliseconds, SVG with text as text."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

# Colours that matplotlib is given and that the style sheet then takes over, so that pictures follow the reader's theme.
VARIABLES = {
    f"#01020{n}": name for n, name in enumerate(("ink", "soft", "grid", "candidate", "baseline", "bad", "good"))
}
INK, SOFT, GRID, CANDIDATE, BASELINE, BAD, GOOD = VARIABLES
COLOURS = {"baseline": BASELINE, "candidate": CANDIDATE}  # in the order in which they are drawn
DASHES = {"baseline": (4.0, 1.6), "candidate": ()}  # and marks, so that nobody needs the colours
MARKERS = {"baseline": "s", "candidate": "o"}
NARROW = (4.9, 3.5)  # inches; at 360 pixels, letters of 11 points are still 10 pixels high
WIDE_SPAN = 4.0  # the largest over the smallest value, from which an axis is logarithmic
STYLE = {
    **{"font.size": 11, "text.color": INK, "svg.fonttype": "none"},
    **{"axes.edgecolor": SOFT, "axes.labelcolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT},
    **{"axes.facecolor": "none", "figure.facecolor": "none", "axes.spines.top": False, "axes.spines.right": False},
}


class Picture(NamedTuple):
    """A picture with what to see in it above, and how to read it below."""

    title: str
    drawn: Markup
    caption: str
    kind: str = ""  # of its place on the page


@contextmanager
def canvas(size: tuple[float, float] = NARROW) -> Iterator[tuple[Figure, Axes]]:
    """A figure of `size` inches with one pair of axes, while it is drawn."""
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.add_subplot()


def milliseconds(axes: Axes, name: Literal["x", "y"], low: float, high: float) -> bool:
    """Makes an axis that is to show latencies from `low` to `high`: logarithmic where they differ by much; says so."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    wide = 0 < WIDE_SPAN * low < high
    if wide:
        axes.set(**{f"{name}scale": "log"})
    steps = (1, 2, 5) if high < 100 * low else (1,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=6) if wide else MaxNLocator(6))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    return wide


def svg(figure: Figure, name: str, words: str) -> Markup:
    """The figure as inline SVG in the colours of the page. `name`: of no other picture; `words`: for who cannot see."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = re.sub(r"font-family: [^;]*;|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.S)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return Markup(text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1))  # noqa: S704
