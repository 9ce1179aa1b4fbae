"""Time and memory of training, by the number of rows: twenty columns, sixteen of numbers and four of texts.

    python -m benchmarks.tables.sizes [ROWS…] [--write]      each as CSV and as Parquet

For each size a project is made with `make new`, and trained in a process of its own. Beside it the estimator alone is
fitted, on the very columns that training gives it. `--write` puts the table into benchmarks/tables.md.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from benchmarks import sections
from benchmarks.gate.recorded import machine
from benchmarks.tables.sources import CACHE, ROOT
from pipeline.settings import load_settings
from release.demo import environment_of, lay_out

COMMAND = "make bench-sizes"
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
PART = 1_000_000  # rows written at once
HEADS = (
    "rows",
    "as",
    "MB",
    "fit alone s",
    "training s",
    "times the fit",
    "reading s",
    "fitting s",
    "rest s",
    "RAM MB",
)
STEP = re.compile(r"^  (read the data|fit on).*? (\d+\.\d) s$", re.MULTILINE)
ALONE = """
import time
from model.estimator import build
from pipeline.settings import load_settings
from pipeline.transformer import Derive
from threadpoolctl import threadpool_limits
from training.dataset import read
from training.fit import MANY_ROWS

settings = load_settings()
part = read(settings.data, settings.training.holdout).training
table, target = Derive().fit_transform(part.frame), part.target.to_numpy()
with threadpool_limits(None if len(table) >= MANY_ROWS else 1, "openmp"):
    began = time.perf_counter()
    build(settings.data.task, settings.training.seed).fit(table, target)
print(time.perf_counter() - began)
"""


class Size(msgspec.Struct, frozen=True):
    rows: int
    kind: str  # csv or parquet
    file: float  # MB
    alone: float  # seconds
    training: float
    reading: float
    fitting: float
    memory: float  # MB, at most


def write(path: Path, rows: int) -> None:
    """A table in which eight columns say something, with gaps in one: a file, or a folder of Parquet."""
    dice = np.random.default_rng(7)
    for start in range(0, rows, PART):
        count = min(PART, rows - start)
        data: dict[str, object] = {f"n{i}": np.round(dice.normal(size=count) * 10 ** (i % 4), 3) for i in range(16)}
        for i in range(4):
            data[f"t{i}"] = dice.choice([f"group {n}" for n in range(10 * (i + 1) ** 2)], count)
        part = pd.DataFrame(data)
        signal = part["n0"] + part["n1"] / 10 + part["n2"] / 200 + (part["t0"] > "group 5")
        part["outcome"] = np.where(signal + dice.normal(size=count) > 0.5, "yes", "no")
        part.loc[dice.random(count) < 0.05, "n3"] = np.nan
        if path.suffix == ".csv":
            part.to_csv(path, index=False, mode="a" if start else "w", header=not start)
        else:
            path.mkdir(exist_ok=True)
            part.to_parquet(path / f"{start:09}.parquet", index=False)


def measured(rows: int, kind: str) -> Size:
    folder = CACHE / f"rows-{rows}"
    shutil.rmtree(folder, ignore_errors=True)
    project = folder / "project"
    data = project / "data" / ("rows.csv" if kind == "csv" else "rows")
    lay_out(ROOT, load_settings(ROOT, {}).data.path, project)
    write(data, rows)
    environment = environment_of(os.environ, project, "rows")
    run = [sys.executable, "-m"]
    new = [*run, "training.new", f"--csv={data}", "--target=outcome"]
    subprocess.run(new, cwd=project, env=environment, check=True, capture_output=True)
    began = time.perf_counter()
    with (
        (folder / "train.log").open("w") as log,
        subprocess.Popen(
            [*run, "training.train"], cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT
        ) as training,
    ):
        _, status, used = os.wait4(training.pid, 0)
        training.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if training.returncode:
        raise SystemExit((folder / "train.log").read_text())
    alone = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=project, env=environment, check=True, capture_output=True, text=True
    )
    stored = sum(path.stat().st_size for path in (data.iterdir() if data.is_dir() else [data])) / 1e6
    reading, fitting = (float(found) for _, found in STEP.findall((folder / "train.log").read_text()))
    size = Size(rows, kind, stored, float(alone.stdout), seconds, reading, fitting, used.ru_maxrss / 1e3)
    shutil.rmtree(folder)
    return size


def row(size: Size) -> list[str]:
    rest = size.training - size.reading - size.fitting
    figures = (size.file, size.alone, size.training, size.training / size.alone, size.reading, size.fitting, rest)
    kind = "CSV" if size.kind == "csv" else "Parquet"
    return [f"{size.rows:,}", kind, *(f"{each:,.1f}" for each in figures), f"{size.memory:,.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.sizes", description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", type=int, help=f"default: {SIZES}")
    parser.add_argument("--write", action="store_true", help="into benchmarks/tables.md")
    arguments = parser.parse_args()
    sizes = []
    for rows in arguments.rows or SIZES:
        for kind in ("csv", "parquet"):
            sizes.append(measured(rows, kind))
            print(*row(sizes[-1]), sep=" | ", flush=True)
    if arguments.write:
        table = sections.table(HEADS, [row(size) for size in sizes])
        for page in ("benchmarks/tables.md", "docs/data.md"):
            sections.write(ROOT / page, COMMAND, f"On {machine()}.\n\n{table}\n")


if __name__ == "__main__":
    main()
