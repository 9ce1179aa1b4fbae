"""The raw figures of a load test: a line a round and arm, and a line a request."""

import contextlib
import csv
import gzip
from pathlib import Path

from perf.rounds import Samples
from perf.verdict import Round

ROUND_FIELDS = ("count", "errors", "p50", "p95", "p99", "mean", "p95_due", "achieved", "target", "ready_seconds")


class Records(contextlib.ExitStack):
    """rounds.csv and samples.csv.gz, written as the rounds come in, so that an interrupted run keeps what it has."""

    def __init__(self, output: Path) -> None:
        super().__init__()
        output.mkdir(parents=True, exist_ok=True)
        self._rounds_file = self.enter_context((output / "rounds.csv").open("w", newline=""))
        self._samples_file = self.enter_context(gzip.open(output / "samples.csv.gz", "wt", newline="", compresslevel=4))  # noqa: SIM115

        self._rounds, self._samples = csv.writer(self._rounds_file), csv.writer(self._samples_file)
        self._rounds.writerow(["round", "arm", *ROUND_FIELDS, "dropped"])
        self._samples.writerow(["round", "arm", "pair", "due_s", "start_s", "latency_ms", "ok"])

    def write(self, measured: Round, samples: dict[str, Samples]) -> None:
        for arm, found in (("candidate", measured.candidate), ("baseline", measured.baseline)):
            if found is not None:
                values = [getattr(found, name) for name in ROUND_FIELDS]
                self._rounds.writerow([measured.number, arm, *values, measured.dropped])
        for arm, of_arm in samples.items():
            for pair, due, start, latency, ok in zip(*of_arm, strict=True):
                self._samples.writerow(
                    [measured.number, arm, pair, f"{due:.6f}", f"{start:.6f}", f"{latency:.4f}", int(ok)]
                )
        self._rounds_file.flush()
