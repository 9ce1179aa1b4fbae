"""What a load test shows while it runs: a bar on a terminal, plain lines elsewhere."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from perf.findings import Findings
from perf.rule.wording import NAMES, amount, percent
from perf.verdict import Round, row_of

WIDE = 5.0  # an upper bound of +500 % says nothing yet


class Screen(Console):
    """A console whose reader may go and whose disk may get full: what is measured is in files all the same."""

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """In place of rich's own, which ends the process with the exit code 1."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())  # else Python complains when it flushes what is left
        os.close(nowhere)


class Display:
    """Draws between rounds only: drawing takes the load generator's CPU, and would count as latency."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        self.console.print(escape(text), highlight=False, soft_wrap=True)

    def step(self, text: str) -> None:
        if self.console.is_terminal:
            self._bar.update(self._task, description=escape(text), refresh=True)

    def begin(self, number: int, decide_after: Sequence[int], findings: Findings) -> None:
        kept = sum(not r.dropped for r in findings.rounds)
        due = next((rounds for rounds in decide_after if kept < rounds), decide_after[-1])
        if number == 1:
            rate = amount(findings.rate, "/s").removesuffix("/s")
            what = "pairs of requests" if findings.baseline else "requests"
            at = " or ".join(str(rounds) for rounds in decide_after)
            self.say(f"Measuring at {rate} {what} a second; verdict after round {at}.")
        self._bar.update(self._task, total=due, completed=kept)
        self.step(f"round {number}, verdict after {due}{so_far(findings)}")

    def end(self, measured: Round, findings: Findings) -> None:
        if measured.dropped:
            self.say(f"Round {measured.number} does not count: {measured.dropped}.")
        elif not self.console.is_terminal:
            self.say(f"Round {measured.number}: {_p95(measured)}{so_far(findings)}")


def _p95(measured: Round) -> str:
    """The p95 that the verdict is about: beside a baseline from the sending, else from when requests were due."""

    def shown(milliseconds: float | None) -> str:
        return amount(milliseconds, "ms") or "no answer"

    if measured.baseline:
        return f"p95 {shown(measured.candidate.p95)}, baseline {shown(measured.baseline.p95)}"
    return f"{NAMES['p95_due']} {shown(measured.candidate.p95_due)}"


def so_far(findings: Findings) -> str:
    """The estimate over all rounds until now; nothing while its upper bound is above WIDE."""
    if findings.judgement is None:
        return ""
    p95 = row_of(findings.judgement.criteria, "p95")
    if p95 is None or p95.change is None or p95.interval is None or p95.interval[1] > WIDE:
        return ""
    return f"; so far {percent(p95.change)} ({percent(p95.interval[0])} … {percent(p95.interval[1])})"
