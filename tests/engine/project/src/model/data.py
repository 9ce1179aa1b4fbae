"""What the columns of data/sba_loans.csv mean. Training and serving both call `derive`, so they cannot differ."""

from collections.abc import Mapping
from typing import Any


def derive(loan: Mapping[str, Any]) -> dict[str, Any]:
    """One loan as the model sees it, from one record as the file has it.

    A number is a float, a text a str; None where the cell is empty. Return the same keys for every record. Keep to
    plain Python: this runs on every request, in an image that holds no pandas. `make test` checks the examples.

    >>> codes = {"NAICS": 722110.0, "FranchiseCode": 1.0, "RevLineCr": "T", "LowDoc": "N"}
    >>> loan = codes | {"NewExist": 0.0, "UrbanRural": 2.0}
    >>> derive(loan)
    {'RevLineCr': 'other', 'LowDoc': 'N', 'NewExist': None, 'UrbanRural': 2.0, 'Sector': '72', 'Franchise': 0.0}
    >>> [derive(loan | {"NAICS": code})["Sector"] for code in (0.0, None)]
    ['unknown', 'unknown']
    >>> [derive(loan | {"FranchiseCode": code})["Franchise"] for code in (0.0, 78760.0, None)]
    [0.0, 1.0, 0.0]
    >>> [derive(loan | {"RevLineCr": code})["RevLineCr"] for code in ("Y", "0", "`", None)]
    ['Y', 'other', 'other', 'other']
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
