"""The files that a load test leaves: each is either whole or not there, and errors name it."""

import contextlib
import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from perf.rule.rounds import Samples
from perf.verdict import Report, Round

ROUND_FIELDS = ("count", "errors", "p50", "p95", "p99", "mean", "p95_due", "achieved", "target", "ready_seconds")


def replace(path: Path, data: bytes) -> None:
    """Writes a file beside it and renames that. Raises OSError, whose message is one that names the file."""
    part = path.with_name(f".{path.name}.part")
    with named(path):
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def append(path: Path, data: bytes) -> None:
    """Adds all of `data` to the end of a file, or nothing. Raises OSError, whose message is one that names the file."""
    with named(path), path.open("ab", buffering=0) as file:
        before, rest = file.seek(0, 2), memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]  # a disk that gets full takes a part
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Makes a sentence of an error that says the reason alone."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from None


def write_verdict(path: Path, report: Report) -> None:
    replace(path, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


class Records:
    """rounds.csv and samples.csv.gz, written as the rounds come in, so that a run that is cut off keeps what it has.

    Each round is a gzip stream of its own, and whole: readers take several for one. Raises OSError as `append` does.
    """

    def __init__(self, output: Path) -> None:
        self._rounds, self._samples = output / "rounds.csv", output / "samples.csv.gz"
        output.mkdir(parents=True, exist_ok=True)
        for path in (self._rounds, self._samples):
            path.unlink(missing_ok=True)
        append(self._rounds, _lines([["round", "service", *ROUND_FIELDS, "dropped"]]))
        append(self._samples, gzip.compress(b"round,service,pair,due_s,start_s,latency_ms,ok\r\n"))

    def write(self, measured: Round, samples: dict[str, Samples]) -> None:
        text = "".join(_requests(measured.number, arm, of_arm) for arm, of_arm in samples.items())
        append(self._samples, gzip.compress(text.encode(), compresslevel=4))
        append(
            self._rounds,
            _lines(
                [measured.number, arm, *(getattr(figures, name) for name in ROUND_FIELDS), measured.dropped]
                for arm, figures in (("candidate", measured.candidate), ("baseline", measured.baseline))
                if figures is not None
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
