"""The benchmarks take minutes, so what they ask of the engine is looked at here."""

import ast
from pathlib import Path

import pytest

from .conftest import ROOT

OURS = ("model", "pipeline", "training", "serving", "perf", "release")
FILES = sorted((ROOT / "benchmarks").rglob("*.py"))


def file_of(module: str) -> Path | None:
    """Where a module of ours lies; None where there is none of that name."""
    place = Path(*module.split("."))
    choices = [
        ROOT / root / each for root in (".", "src") for each in (place.with_suffix(".py"), place / "__init__.py")
    ]
    return next((each for each in choices if each.is_file()), None)


def names_in(file: Path) -> set[str]:
    """What a module defines or imports at its top."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        else:
            found |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return found


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_what_a_benchmark_imports_of_the_engine_is_there(file: Path) -> None:
    """Nothing is imported: the servers have libraries of their own, and Locust patches the sockets."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in OURS:
            module = file_of(str(node.module))
            there = names_in(module) if module else set()
            missing = [each.name for each in node.names if each.name not in there]
            assert [each for each in missing if file_of(f"{node.module}.{each}") is None] == [], node.module
