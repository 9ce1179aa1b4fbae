"""requirements/add.sh, which is `make add`: a library is pinned wherever the model goes, or nothing has changed."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.engine.conftest import ROOT


@pytest.fixture(name="files")
def _files(tmp_path: Path) -> Path:
    """What a project has of these."""
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements", ignore=shutil.ignore_patterns("template.*"))
    for name in ("pyproject.toml", ".python-version"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def add(files: Path, library: str, group: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "requirements/add.sh", library, group],
        cwd=files,
        env=os.environ | {"VENV": sys.prefix},
        capture_output=True,
        text=True,
        check=False,
    )


def contents(files: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("library", "message"),
    [
        ("", "Say which library: make add LIBRARY=lightgbm"),
        ("two words", "two words was not added. Nothing was changed."),
        ("--help", "--help was not added. Nothing was changed."),
        pytest.param("no-such-library-9", "There is no package no-such-library-9.", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_added_changes_nothing(files: Path, library: str, message: str) -> None:
    """A sentence says why."""
    before = contents(files)
    done = add(files, library)
    assert done.returncode
    assert message in done.stderr
    assert contents(files) == before


@pytest.mark.slow  # likewise
def test_what_reaches_the_data_is_in_no_image(files: Path) -> None:
    """A database's driver trains, and serves nothing."""
    done = add(files, "psycopg[binary]", "data")
    assert done.returncode == 0, done.stderr
    pinned = [path.stem for path in (files / "requirements").glob("*.txt") if "\npsycopg==" in path.read_text()]
    assert sorted(pinned) == ["dev", "train"]


@pytest.mark.slow  # asks the package index
def test_a_library_goes_where_the_model_goes(files: Path) -> None:
    """Into training and the image that serves scikit-learn, not into one that serves ONNX; twice is once."""
    done = add(files, "xgboost")
    assert done.returncode == 0, done.stderr
    assert "Taking xgboost-cpu" in done.stdout
    after = contents(files)
    assert tomllib.loads((files / "pyproject.toml").read_text())["dependency-groups"]["model"] == ["xgboost-cpu"]
    pinned = [path.stem for path in (files / "requirements").glob("*.txt") if "\nxgboost-cpu==" in path.read_text()]
    assert sorted(pinned) == ["dev", "serve-sklearn", "train"]
    assert not [path for path in after if b"nvidia" in after[path] and path.suffix == ".txt"]
    assert add(files, "xgboost").returncode == 0
    assert contents(files) == after
