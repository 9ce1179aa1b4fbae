"""The raw figures of a load test: a line a round and arm, and a line a request."""

import csv
import gzip
import io
from collections.abc import Iterable
from pathlib import Path

from perf.files import append
from perf.rule.rounds import Samples
from perf.verdict import Round

ROUND_FIELDS = ("count", "errors", "p50", "p95", "p99", "mean", "p95_due", "achieved", "target", "ready_seconds")


class Records:
    """rounds.csv and samples.csv.gz, written as the rounds come in, so that a run that is cut off keeps what it has.

    Each round is a gzip stream of its own, and whole: readers take several for one. Raises OSError as `append` does.
    """

    def __init__(self, output: Path) -> None:
        self._rounds, self._samples = output / "rounds.csv", output / "samples.csv.gz"
        output.mkdir(parents=True, exist_ok=True)
        for path in (self._rounds, self._samples):
            path.unlink(missing_ok=True)
        append(self._rounds, _lines([["round", "arm", *ROUND_FIELDS, "dropped"]]))
        append(self._samples, gzip.compress(b"round,arm,pair,due_s,start_s,latency_ms,ok\r\n"))

    def write(self, measured: Round, samples: dict[str, Samples]) -> None:
        text = "".join(_requests(measured.number, arm, of_arm) for arm, of_arm in samples.items())
        append(self._samples, gzip.compress(text.encode(), compresslevel=4))
        append(
            self._rounds,
            _lines(
                [measured.number, arm, *(getattr(found, name) for name in ROUND_FIELDS), measured.dropped]
                for arm, found in (("candidate", measured.candidate), ("baseline", measured.baseline))
                if found is not None
            ),
        )


def _lines(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _requests(number: int, arm: str, samples: Samples) -> str:
    """Lines of numbers alone, which need no csv.writer: this takes half the time, and there may be a million."""
    line = f"{number},{arm},%d,%.6f,%.6f,%.4f,%d\r\n"
    return "".join([line % row for row in zip(*(column.tolist() for column in samples), strict=True)])
