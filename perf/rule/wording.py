"""Figures and verdicts in words."""

import math
import re
from collections.abc import Sequence

from perf.verdict import Criterion, Key

NAMES: dict[Key, str] = {
    "p95": "p95 latency",
    "p50": "p50 latency",
    "p99": "p99 latency",
    "mean": "mean latency",
    "cpu_ms": "CPU time a request",
    "p95_due": "p95 from the intended start",
    "errors": "errors",
    "throughput": "throughput",
    "requests": "requests",
    "ready_seconds": "start to ready",
    "memory_mb": "memory",
    "grown_kb": "memory growth a request",
    "image_mb": "image size",
    "steadiness": "baseline against itself",
}
MINUS = "\N{MINUS SIGN}"


def percent(share: float | None, signed: bool = True) -> str:
    """+4.2 %, without decimals from 20 % on, where they only look exact, and with ± where it reads zero."""
    if share is None or not math.isfinite(share):
        return ""
    digits = 0 if abs(share) >= 0.2 or share == 0 else 1 if signed or abs(share) >= 0.001 else 3
    text = f"{abs(share) * 100:.{digits}f} %"
    if not signed:
        return text
    return ("±" if text == "0.0 %" or not share else MINUS if share < 0 else "+") + text


def amount(value: float | None, unit: str) -> str:
    """A figure with its unit and as many digits as it deserves."""
    if value is None or not math.isfinite(value):
        return ""
    if unit == "share":
        return percent(value, signed=False)
    if unit == "count":
        return f"{value:,.0f}"
    # Below a millisecond a third digit, so that the change can be worked out from the two figures of a row.
    digits = 0 if value >= 1000 else 1 if value >= 20 else 3 if unit == "ms" and value < 1 else 2
    return f"{value:,.{digits}f}{'/s' if unit == '/s' else f' {unit}'}"


def change_or_amount(value: float, row: Criterion) -> str:
    return percent(value) if row.relative else amount(value, row.unit)


def span(row: Criterion) -> str:
    """The interval of a row: +1.2 % … +3.4 %."""
    if row.interval is None:
        return ""
    low, high = row.interval
    return f"{change_or_amount(low, row)} … {change_or_amount(high, row)}"


def limit(row: Criterion) -> str:
    """The limit of a row, as somebody would write it."""
    return "" if row.limit is None else rounded(change_or_amount(row.limit, row))


def rounded(text: str) -> str:
    """+15 % for +15.0 %: of a number that somebody chose."""
    return re.sub(r"\.0+(?=[ /])", "", text)


def bound(row: Criterion) -> str:
    """The limit of a row, with the side on which it lies; of a change that fails, the bound that it broke."""
    if row.broken is not None and not row.accepted:
        return f"surely ≤ {rounded(percent(row.broken))}"
    side = "≥" if row.key in {"throughput", "requests"} else "<" if row.relative else "≤"
    return "" if row.limit is None else f"{side} {limit(row)}{', accepted' if row.accepted else ''}"


def headline(
    outcome: str, criteria: Sequence[Criterion], reasons: Sequence[str], rounds: int, sure: float, why: str = ""
) -> str:
    """What broke and by how much, or that nothing did, in one line. `why`: the reason why a slow-down was accepted."""
    rows = {row.key: row for row in criteria}
    p95 = rows["p95"]
    if outcome == "fail":
        broken = [_broken(row, sure) for row in criteria if row.outcome == "fail"]
        # What does not keep up is slow: the reader looks for p95, also where that is not sure enough to decide.
        slower = p95.outcome == "inconclusive" and p95.limit is not None and (p95.change or 0.0) > p95.limit
        return "; ".join([*broken, *([_undecided(p95)] if slower else [])])
    if outcome == "pass" and p95.interval is not None and p95.change is not None:
        figure = f"p95 {percent(p95.change)} (at most {percent(p95.interval[1])})"
        if p95.accepted:
            return f'accepted: {figure}, up to {limit(p95)} for "{_short(why)}"'
        return figure + _below(p95)
    if outcome == "pass":
        due = rows["p95_due"]
        most = f" (at most {amount(due.interval[1], 'ms')})" if due.interval else ""
        return f"{NAMES[due.key]} {amount(due.candidate, 'ms')}{most}{_below(due)}; no baseline to compare with"
    open_rows = [row for row in criteria if row.outcome == "inconclusive"]
    why = reasons[0] if reasons else "; ".join(_undecided(row) for row in open_rows) or "no round was measured"
    return f"cannot tell: {why}, after {rounds} {'round' if rounds == 1 else 'rounds'}"


def _below(row: Criterion) -> str:
    return ", without a limit" if row.limit is None else f", surely below the limit of {limit(row)}"


def _broken(row: Criterion, sure: float) -> str:
    if row.relative and row.change is not None and row.interval is not None:
        slower, least = percent(row.change, signed=False), percent(row.interval[0], signed=False)
        more = f", more than the {limit(row)} that was accepted" if row.accepted else ""
        return f"p95 of POST /predict is {slower} slower ({sure * 100:.1f} % sure it is at least {least}){more}"
    figure = amount(row.candidate, row.unit)
    if row.key == "errors" and row.candidate is not None and row.limit is not None and row.candidate <= row.limit:
        return f"{figure} of the requests failed, and {amount(row.baseline, row.unit)} of the baseline's"
    if row.key == "errors":
        return f"{figure} of the requests failed, the limit is {limit(row)}"
    if row.key == "throughput":
        return f"{figure} were answered, the limit is {limit(row)}"
    return f"{NAMES[row.key]} is {figure}, the limit is {limit(row)}"


def _undecided(row: Criterion) -> str:
    if row.relative and row.change is not None:
        up_to = f", accepted up to {limit(row)}" if row.accepted else ""
        return f"{NAMES[row.key].removesuffix(' latency')} {percent(row.change)} ({span(row)}){up_to}"
    if row.key == "requests":
        return f"{amount(row.candidate, row.unit)} requests are too few, {limit(row)} are needed"
    return f"{NAMES[row.key]} {amount(row.candidate, row.unit) or 'unknown'}, limit {limit(row)}"


def disagreement(criteria: Sequence[Criterion]) -> str:
    """Where CPU time and p95 do not say the same, what that means; nothing where they do, or one is not known."""
    rows = {row.key: row for row in criteria}
    p95, cpu = rows.get("p95"), rows.get("cpu_ms")
    if p95 is None or p95.limit is None or cpu is None or cpu.interval is None or cpu.change is None:
        return ""
    low, high = cpu.interval
    if p95.outcome == "fail" and high < 0.2 * p95.limit:
        return (
            f"CPU time a request has not grown ({percent(cpu.change)}, at most {percent(high)}): the time is spent "
            "waiting, on a lock, a sleep or the network, or few requests are slow."
        )
    if p95.outcome != "fail" and low > p95.limit:
        grown, least = percent(cpu.change, signed=False), percent(low, signed=False)
        return (
            f"CPU time a request has grown by {grown} (at least {least}), more than p95 shows at this load: the "
            "service will reach its capacity earlier."
        )
    return ""


def _short(text: str) -> str:
    return f"{text[:99]}…" if len(text) > 100 else text
