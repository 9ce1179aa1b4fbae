"""model.data.derive: what holds for whatever it makes of the columns. What it makes of them, its own examples say."""

import copy
import doctest
import subprocess
import sys

import model.data
from model.data import derive
from pipeline.settings import load_settings
from pipeline.transformer import records
from tests.engine.conftest import ROOT
from training.dataset import read


def test_its_examples_hold() -> None:
    """Those in the docstrings of src/model/data.py, which is the place for rules of one's own."""
    assert doctest.testmod(model.data).failed == 0


def test_every_row_of_the_file_has_the_same_columns() -> None:
    """Numbers, texts or None under the same names, the same again for the same row, which stays as it was."""
    settings = load_settings(ROOT)
    rows = records(read(settings.data, settings.training.holdout).frame)
    names = derive(rows[0]).keys()
    for row in rows:
        before = copy.copy(row)
        columns = derive(row)
        assert columns.keys() == names
        assert {type(value) for value in columns.values()} <= {float, int, bool, str, type(None)}, columns
        assert columns == derive(row)
        assert row == before


def test_derive_needs_no_library() -> None:
    """The image that serves ONNX has no pandas: src/model/data.py imports the standard library only."""
    program = "import sys; before = set(sys.modules); import model.data; print(set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in eval(done.stdout)}  # noqa: S307  our own output
    assert loaded <= {"model", *sys.stdlib_module_names}
