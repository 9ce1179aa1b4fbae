"""model.data.derive."""

import csv
import subprocess
import sys

from model.data import derive
from tests.conftest import ROOT

LOAN = {
    "ApprovalFY": 1997.0, "NAICS": 722110.0, "Term": 84.0, "NoEmp": 3.0, "NewExist": 1.0, "CreateJob": 0.0,
    "RetainedJob": 0.0, "FranchiseCode": 1.0, "UrbanRural": 1.0, "GrAppv": 50000.0, "SBA_Appv": 25000.0, "State": "CA",
    "Bank": "B", "BankState": "NC", "RevLineCr": "Y", "LowDoc": "N",
}  # fmt: skip


def test_a_code_becomes_its_sector() -> None:
    """NAICS: the first two digits; 0 and an empty cell say that nobody knows."""
    assert derive(LOAN)["Sector"] == "72"
    assert derive(LOAN | {"NAICS": 0.0})["Sector"] == "unknown"
    assert derive(LOAN | {"NAICS": None})["Sector"] == "unknown"


def test_only_a_code_above_one_is_a_franchise() -> None:
    """FranchiseCode: 0 and 1 both say no."""
    flags = [derive(LOAN | {"FranchiseCode": code})["Franchise"] for code in (0.0, 1.0, 78760.0, None)]
    assert flags == [0.0, 0.0, 1.0, 0.0]


def test_stray_codes_are_one_class_of_their_own() -> None:
    """RevLineCr and LowDoc: whatever is neither Y nor N is `other`, on every row of the file and beyond."""
    with (ROOT / "data" / "sba_loans.csv").open(encoding="utf-8", newline="") as file:
        codes = {row["RevLineCr"] for row in csv.DictReader(file)}
    assert {"0", "T"} <= codes
    for code in codes | {"`", "", None}:
        assert derive(LOAN | {"RevLineCr": code})["RevLineCr"] == (code if code in ("Y", "N") else "other")


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
