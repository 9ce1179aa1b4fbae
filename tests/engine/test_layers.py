"""Imports between the folders of the engine run downwards: `pytest -s` on this file prints all of them."""

import ast
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.engine.conftest import ROOT

# From the bottom up; what stands in one line knows nothing of each other.
LAYERS = (
    ("src/model",),
    ("src/pipeline",),
    ("training", "serving"),
    ("perf",),
    ("release",),
)
# Folders in these, likewise. "." is the folder's own files.
WITHIN = {
    "training": (("onnx", "quality", "source"), (".",), ("new", "tune")),
    "release": (("github",), (".",), ("deploy",)),
}
HEIGHT = {folder: height for height, layer in enumerate(LAYERS) for folder in layer}


def modules() -> dict[str, Path]:
    """The engine's modules by name."""
    done = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [Path(line) for line in done.stdout.splitlines()]
    return {name_of(path): path for path in paths if layer_of(path) and (ROOT / path).is_file()}


def name_of(path: Path) -> str:
    parts = path.with_suffix("").parts[path.parts[0] == "src" :]
    return ".".join(parts).removesuffix(".__init__")


def layer_of(path: Path) -> str:
    """The folder of LAYERS that a file lies in; empty for other files."""
    return next((folder for folder in HEIGHT if path.is_relative_to(folder)), "")


def imports(path: Path, known: dict[str, Path], at_run_time: bool) -> set[str]:
    """The engine's modules that a file imports, wherever in it; `at_run_time`: less those for types alone."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    if at_run_time:
        tree.body = [
            node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        ]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {
                full if (full := f"{node.module}.{alias.name}") in known else str(node.module) for alias in node.names
            }
    return found & known.keys()


def edges(at_run_time: bool = False) -> list[tuple[Path, Path]]:
    known = modules()
    return [(path, known[name]) for path in known.values() for name in sorted(imports(path, known, at_run_time))]


def room(path: Path) -> str:
    """The folder of a file, as the table names it."""
    return path.parent.as_posix()


def test_no_import_runs_upwards() -> None:
    """A folder imports what lies below it, and neither its neighbour nor what lies above."""
    counts = Counter((room(one), room(other)) for one, other in edges() if room(one) != room(other))
    table = Table("folder", "imports", "count")
    for (one, other), count in sorted(counts.items()):
        table.add_row(one, other, str(count))
    Console().print(table)
    wrong = []
    for one, other in edges():
        upper, lower = layer_of(one), layer_of(other)
        if upper != lower and HEIGHT[upper] <= HEIGHT[lower]:
            wrong.append(f"{one} imports {other}")
        if upper == lower and upper in WITHIN and _height(one, upper) < _height(other, upper):
            wrong.append(f"{one} imports {other}")
    assert wrong == []


def _height(path: Path, folder: str) -> int:
    inner = path.relative_to(folder).parts[0] if len(path.relative_to(folder).parts) > 1 else "."
    return next(height for height, names in enumerate(WITHIN[folder]) if inner in names)


def test_no_import_runs_in_a_circle() -> None:
    """Files can be read one after the other, each after what it imports."""
    below = defaultdict(set)
    for one, other in edges(at_run_time=True):
        below[one].add(other)
    read: set[Path] = set()
    left = {path for edge in edges(at_run_time=True) for path in edge}
    while ready := {path for path in left if below[path] <= read}:
        read |= ready
        left -= ready
    assert left == set()


def test_the_rule_stands_alone() -> None:
    """What decides knows the verdict's form and nothing else: no file, no service, no clock."""
    allowed = {"perf/rule", "perf/verdict.py"}
    below = {other for one, other in edges() if room(one) == "perf/rule"}
    assert {str(path) for path in below if room(path) not in allowed and str(path) not in allowed} == set()


def test_the_stages_share_no_more_than_the_image_needs() -> None:
    """src/ travels in the image, so what only releases or measures does not lie there."""
    users = defaultdict(set)
    for one, other in edges():
        users[other].add(layer_of(one))
    assert [
        path.name for path in modules().values() if room(path) == "src/pipeline" and users[path] == {"release"}
    ] == []
