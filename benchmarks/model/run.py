"""How often the quality gate is wrong, and what it catches: beside a point estimate and a floor.

    make bench-model
    python -m benchmarks.model.run [--splits 30] [--write]

Each split of each data set gives seven pairs of models: two that are equally good, and five with a fault. The gate
judges each pair on all held-out rows and on fewer. Verdicts are kept in .cache/bench/model, and a run that was
interrupted goes on where it was.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np
from rich.console import Console

from benchmarks.model import document, pairs
from benchmarks.model.document import Verdict
from benchmarks.model.pairs import Pair, Source
from benchmarks.tables.sources import ROOT
from pipeline.settings import load_settings
from training.new.files import METRIC, floor_and_tolerance
from training.new.trial import RESAMPLES, Trial
from training.quality import rule
from training.quality.judge import SEED, more_is_better
from training.quality.metrics import metrics
from training.quality.resample import resampled

FOLDER = ROOT / ".cache" / "bench" / "model"
ROWS = (100, 300, 1000, 1500, 3000)  # held-out rows on which a pair is judged, beside all of them


def limits(source: Source, pair: Pair) -> tuple[float, float]:
    """Floor and tolerance as `make new` proposes them; the sample's are its own."""
    if source.name.startswith("loans"):
        quality = load_settings(ROOT, {}).quality
        return quality.floor, quality.tolerance
    name, rows = METRIC[source.task], len(pair.champion.truth)
    values = resampled([pair.champion], np.arange(rows), 0, RESAMPLES)[0][name]
    return floor_and_tolerance(Trial(name, metrics(pair.champion)[name], float(np.nanstd(values)), rows))


def judge(source: Source, split: int, pair: Pair, rows: int, limit: tuple[float, float]) -> Verdict:
    """One verdict, of the gate and of the other rules, on the first of the held-out rows."""
    name, (floor, tolerance) = METRIC[source.task], limit
    both = [each.of(np.arange(rows)) for each in (pair.candidate, pair.champion)]
    sign = 1 if more_is_better(name) else -1
    one, other = (each[name] for each in resampled(both, np.arange(rows), SEED))
    found = [metrics(each)[name] for each in both]
    loss = rule.loss(sign * (found[1] - found[0]), sign * (other - one))
    return Verdict(
        data=source.name,
        split=split,
        change=pair.change,
        rows=rows,
        whole=rows == len(pair.champion.truth),
        found=loss.found,
        error=loss.error,
        surely=max(loss.surely, -1e9),  # JSON has no infinity
        at_most=min(loss.at_most, 1e9),
        tolerance=tolerance,
        floor=not sign * found[0] >= sign * floor,
    )


def one(name: str, split: int, order: list[str]) -> Path:
    """All verdicts of one split, in a file of their own."""
    path = FOLDER / f"{name.split(maxsplit=1)[0]}-{split}.json"
    if not path.is_file():
        source, verdicts, limit = pairs.sources()[name](), [], (0.0, 0.0)
        for pair in pairs.pairs(source, order, split):
            limit = limit if verdicts else limits(source, pair)
            held_out = len(pair.champion.truth)
            sizes = [rows for rows in ROWS if rows < held_out] + [held_out]
            verdicts += [judge(source, split, pair, rows, limit) for rows in sizes]
        FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(verdicts))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument(
        "--write", action="store_true", help=f"write the tables into {document.PAGE.name} and README.md"
    )
    arguments = parser.parse_args()
    console, verdicts = Console(), list[Verdict]()
    orders = {name: pairs.strongest(load()) for name, load in pairs.sources().items()}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        due = [pool.submit(one, name, split, orders[name]) for split in range(arguments.splits) for name in orders]
        for count, done in enumerate(as_completed(due), 1):
            verdicts += msgspec.json.decode(done.result().read_bytes(), type=list[Verdict])
            console.print(f"{count} of {len(due)}: {done.result().stem}", highlight=False)
    found = document.tables(verdicts)
    console.print(found, markup=False, highlight=False, soft_wrap=True)
    if arguments.write:
        document.write(verdicts)


if __name__ == "__main__":
    main()
