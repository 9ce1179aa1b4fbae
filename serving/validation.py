"""From the bytes of a request to records that the model can take, or to a problem that names the row and the field."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from pipeline.contract import LARGEST, Contract
from serving.limits import Limits
from serving.problems import Problem

SHOWN = 20  # errors in one answer

Value = float | str | None
Decoder = Callable[[bytes], list[dict[str, Value]]]


def decoder(contract: Contract, limits: Limits) -> Decoder:
    """Compiles the contract into a function from a body to its records: contract fields only, numbers as floats.

    The function raises Problem: 400 where the body is not JSON, 422 where it is not what the contract says.
    """
    fields = [(field.name, field.type == "number", field.nullable) for field in contract.fields]
    known = {field.name for field in contract.fields}
    tolerated = known.union(contract.unused)
    parse = msgspec.json.Decoder().decode

    def decode(body: bytes) -> list[dict[str, Value]]:
        try:
            document = parse(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            document = _lenient(body, error)
        instances = _instances(document, limits.max_rows)
        records = []
        for instance in instances:
            record = _record(instance)
            if record is None:
                raise _explain(instances)
            records.append(record)
        return records

    def _record(instance: Any) -> dict[str, Value] | None:
        """The record in an instance, or None where anything is wrong with it: the quick way, for the usual case."""
        if type(instance) is not dict:
            return None
        record: dict[str, Value] = {}
        for name, is_number, nullable in fields:
            value = instance.get(name, record)  # a value that no JSON has stands for "missing"
            kind = type(value)
            if is_number:
                if (kind is float or kind is int) and -LARGEST <= value <= LARGEST:
                    record[name] = float(value)
                    continue
            elif kind is str and (value.isascii() or _encodes(value)):
                record[name] = value
                continue
            if value is not None or not nullable:
                return None
            record[name] = None
        if len(instance) > len(record) and limits.unknown_fields == "reject" and not tolerated.issuperset(instance):
            return None
        return record

    def _explain(instances: list[Any]) -> Problem:
        errors: list[dict[str, Any]] = []
        for row, instance in enumerate(instances):
            if type(instance) is not dict:
                errors.append(
                    {"row": row, "detail": f"is {_kind(instance)}; expected an object with a value per field"}
                )
                continue
            for field in contract.fields:
                if field.name not in instance:
                    errors.append({"row": row, "field": field.name, "detail": "is missing"})
                elif wrong := _complaint(instance[field.name], field.type == "number", field.nullable):
                    errors.append({"row": row, "field": field.name, "detail": wrong})
            if limits.unknown_fields == "reject":
                for name in instance.keys() - tolerated:
                    errors.append({"row": row, "field": _printable(name), "detail": "is not in the contract"})
            if len(errors) >= SHOWN:
                break
        first = errors[0]
        where = f"row {first['row']}" + (f", field {first['field']!r}" if "field" in first else "")
        return Problem(422, "Unprocessable Content", f"{where}: {first['detail']}", errors[:SHOWN])

    return decode


def _instances(document: Any, max_rows: int) -> list[Any]:
    expected = 'expected {"instances": [{"field": value, ...}, ...]}'
    if type(document) is not dict or "instances" not in document:
        found = "an object without instances" if type(document) is dict else _kind(document)
        raise Problem(422, "Unprocessable Content", f"the body is {found}; {expected}")
    instances = document["instances"]
    if type(instances) is not list or not instances:
        found = "an empty list" if instances == [] else _kind(instances)
        raise Problem(422, "Unprocessable Content", f"instances is {found}; {expected}")
    if len(instances) > max_rows:
        raise Problem(
            422, "Unprocessable Content", f"{len(instances)} rows in one request; at most {max_rows} are taken"
        )
    return instances


def _lenient(body: bytes, error: Exception) -> Any:
    """Reads what strict JSON refuses (NaN, Infinity, 1e400, lone surrogates), so that the field can be named."""
    if not body:
        raise Problem(400, "Bad Request", 'the body is empty; expected {"instances": [{"field": value, ...}, ...]}')
    if isinstance(error, RecursionError):
        raise Problem(400, "Bad Request", "the body is not JSON that can be read: nested too deep") from None
    try:
        return json.loads(body, parse_int=_parse_int)
    except (ValueError, RecursionError):
        raise Problem(400, "Bad Request", f"the body is not JSON that can be read: {error}") from None


def _parse_int(digits: str) -> float | int:
    return int(digits) if len(digits) < 300 else float(digits)  # past Python's own limit for int: infinity is refused


def _complaint(value: Any, is_number: bool, nullable: bool) -> str | None:
    if value is None:
        return None if nullable else "is null, but training saw no missing value here"
    if is_number:
        if type(value) not in (int, float):
            return f"is {_kind(value)}; expected a number"
        return None if -LARGEST <= value <= LARGEST else "is not a finite number that fits in 32 bits"
    if type(value) is not str:
        return f"is {_kind(value)}; expected a text"
    return None if _encodes(value) else "is no valid Unicode text: it holds half of a surrogate pair"


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()[:100]


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
