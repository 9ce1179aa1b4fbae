"""From a verdict and its requests to report.html, by page.html: one file that needs no network."""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from perf.report.markdown import method, placement, who
from perf.report.pictures import figure_of, pictures
from perf.rule.rounds import Samples
from perf.rule.wording import NAMES, amount, bound, percent, rounded, span
from perf.verdict import Report
from training.quality.markdown import NAMES as METRICS
from training.quality.markdown import number, signed
from training.quality.report import Model

ICONS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "info": ""}


def joined(text: str) -> str:
    """Text in which no line begins with the unit of a number."""
    return re.sub(r"(?<=\d) (?=%|ms\b)", "\N{NO-BREAK SPACE}", text)


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
TEMPLATES.filters["joined"] = joined
for each in (amount, bound, figure_of, method, number, percent, placement, signed, span, who):
    TEMPLATES.globals[each.__name__] = each
TEMPLATES.globals["METRICS"] = METRICS


def page(
    report: Report,
    samples: Sequence[Mapping[str, Samples]],
    model: Model | None = None,
    curves: Mapping[str, bytes] = MappingProxyType({}),
) -> str:
    """The whole of report.html.

    samples: of each round, by arm; model: what was decided about the model; curves: of it, by name, each a PNG.
    """
    return (
        TEMPLATES.get_template("page.html").render(
            report=report,
            model=model,
            curves={name: base64.b64encode(png).decode() for name, png in curves.items()},
            ICONS=ICONS,
            NAMES=NAMES,
            pictures=pictures(report, samples),
            kept=sum(not r.dropped for r in report.rounds),
            most=rounded(percent(report.accepted.up_to)) if report.accepted else "",
        )
        + "\n"
    )
