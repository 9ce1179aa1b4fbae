"""Any JSON, and some that is not (NaN, Infinity, 1e400, lone surrogates), so that a field can be named."""

import json
from typing import Any

import msgspec

from serving.replies import bad_request

EXPECTED = 'expected {"instances": [{"field": value, ...}, ...]}'


def parse(body: bytes | memoryview, nan_is_null: bool = False) -> Any:
    """What is in a body. Raises Problem (400)."""
    if not body:
        raise bad_request(f"the body is empty; {EXPECTED}")
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise bad_request("the body is not JSON that can be read: nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as strict:
        try:
            constant = _null_for_nan if nan_is_null else float
            return json.loads(bytes(body), parse_int=_parse_int, parse_constant=constant)
        except (ValueError, RecursionError):
            raise bad_request(f"the body is not JSON that can be read: {strict}") from None


def _null_for_nan(constant: str) -> float | None:
    return None if constant == "NaN" else float(constant)


def _parse_int(digits: str) -> float | int:
    return int(digits) if len(digits) < 300 else float(digits)  # past Python's own limit for int: infinity is refused
