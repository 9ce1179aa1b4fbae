"""What the columns of data/sba_loans.csv mean. Training and serving both call `derive`, so they cannot differ."""

from collections.abc import Mapping
from typing import Any


def derive(loan: Mapping[str, Any]) -> dict[str, Any]:
    """One loan as the model sees it, from one record as the file has it.

    A number is a float, a text a str; None where the cell is empty. Return the same keys for every record. Keep to
    plain Python: this runs on every request, in an image that holds no pandas.
    """
    columns = dict(loan)

    # The first two digits of the code are the industry's sector; 0 stands for "not known".
    naics = columns.pop("NAICS")
    columns["Sector"] = str(int(naics) // 10_000) if naics else "unknown"

    # 0 and 1 both say "no franchise"; any other number names one.
    franchise = columns.pop("FranchiseCode")
    columns["Franchise"] = float(franchise is not None and franchise > 1)

    # Y and N are what the form allows; the file also has 0, T and stray marks, whose meaning nobody recorded.
    for flag in ("RevLineCr", "LowDoc"):
        columns[flag] = columns[flag] if columns[flag] in ("Y", "N") else "other"

    # Zero is how these columns say "not known".
    for column in ("NewExist", "UrbanRural"):
        columns[column] = columns[column] or None

    return columns
