"""What the columns of data/sba_loans.csv mean. Training and serving both call `derive`, so they cannot differ."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

START = datetime(1970, 1, 1)


def derive(record: Mapping[str, Any]) -> dict[str, Any]:
    """One record as the model sees it, from one record as the file has it.

    A number is a float, a text a str, a boolean a bool, a date a datetime; None where the cell is empty. Return numbers
    and texts, the same keys for every record. Keep to plain Python: this runs on every request, in an image that holds
    no pandas. `make test` checks the examples.

    >>> record = {
    ...     "ApprovalFY": 1972.0, "NAICS": 0.0, "Term": 162.0, "NoEmp": 15.0, "NewExist": 1.0,
    ...     "CreateJob": 0.0, "RetainedJob": 0.0, "UrbanRural": 0.0, "DisbursementGross": 100000.0,
    ...     "GrAppv": 100000.0, "SBA_Appv": 50000.0, "State": "HI", "Bank": "CENTRAL PACIFIC BANK",
    ...     "BankState": "HI", "FranchiseCode": "0", "RevLineCr": "N", "LowDoc": False,
    ...     "ApprovalDate": datetime(1971, 8, 6),
    ... }
    >>> derive(record)["ApprovalFY"] == record["ApprovalFY"]
    True
    >>> derive(record)["ApprovalDate month"]
    8
    >>> record = {
    ...     "ApprovalFY": 2006.0, "NAICS": 811192.0, "Term": 125.0, "NoEmp": 2.0, "NewExist": 1.0,
    ...     "CreateJob": 0.0, "RetainedJob": 0.0, "UrbanRural": 1.0, "DisbursementGross": 420000.0,
    ...     "GrAppv": 420000.0, "SBA_Appv": 315000.0, "State": "IN", "Bank": "FIRST FARMERS BANK AND TRUST",
    ...     "BankState": "IN", "FranchiseCode": "1", "RevLineCr": "N", "LowDoc": False,
    ...     "ApprovalDate": datetime(2006, 2, 24),
    ... }
    >>> derive(record)["ApprovalFY"] == record["ApprovalFY"]
    True
    >>> derive(record)["ApprovalDate month"]
    2
    """
    columns = dict(record)

    # A date is no number: how long ago it was, and where in the year, the week and the day.
    for name in ("ApprovalDate",):
        when = columns.pop(name)
        columns[f"{name} day"] = when and (when - START).total_seconds() / 86_400
        columns[f"{name} month"] = when and when.month
        columns[f"{name} weekday"] = when and when.weekday()
    return columns
