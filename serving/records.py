"""From the bytes of a request to records that the model can take, or to a problem that names the row and the field."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Annotated, Any

import msgspec

from pipeline.bundle import LARGEST, Contract
from pipeline.columns import Value
from pipeline.schema import Serving
from serving.replies import bad_request, unprocessable

EXPECTED = 'expected {"instances": [{"field": value, ...}, ...]}'
UNREADABLE = re.compile(r'["\\\x00-\x1f\x7f]')  # in a name: msgspec's structs do not take it
SURROGATE = re.compile("[\ud800-\udfff]")
SHOWN = 20  # errors in one answer

Record = dict[str, Value]
Number = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]


class Decoder:
    """From requests to records, with the fields of the contract only, numbers as floats.

    All methods raise Problem: 400 where a body is not JSON, 422 where it is not what the contract says.
    """

    def __init__(self, contract: Contract, limits: Serving) -> None:
        self._fields, self._max_rows = contract.fields, limits.max_rows
        self._names = [field.name for field in contract.fields]
        # What a row may hold besides; None: anything.
        self._known = {*self._names, *contract.unused} if limits.unknown_fields == "reject" else None
        self._parse, self._rows, self._columns = _types(contract, limits)
        self._records = _to_records(self._names, len(contract.unused))

    def body(self, body: bytes) -> list[Record]:
        """Of {"instances": [{field: value}]}."""
        try:
            return self._records(self._parse(body).instances)  # parsed and validated in one go
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return self._slowly(_instances(parse(body)))

    def instances(self, instances: Any) -> list[Record]:
        """Of such a list, as `parse` gives it."""
        try:
            records = self._records(msgspec.convert(instances, self._rows))
            "".join(value for record in records for value in record.values() if type(value) is str).encode()
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
            return self._slowly(instances)
        return records

    def columns(self, columns: dict[str, Any]) -> list[Record]:
        """Of {field: [value, ...]}, or {field: [[value], ...]}."""
        names = self._names
        if self._known is not None and not columns.keys() <= self._known:
            return self.instances(_transposed(columns))
        try:
            # Checked by column: a row costs no more than the dict that it becomes.
            checked = [msgspec.convert(columns[name], kind) for name, kind in zip(names, self._columns, strict=True)]
            records = [dict(zip(names, row, strict=True)) for row in zip(*checked, strict=True)]
            "".join(value for column in checked for value in column if type(value) is str).encode()
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError, KeyError, ValueError):
            return self.instances(_transposed(columns))
        return records

    def _slowly(self, instances: Any) -> list[Record]:
        """What is wrong with them, raised; the records where nothing is."""
        if type(instances) is not list or not instances:
            kind = "an empty list" if instances == [] else _kind(instances)
            raise unprocessable(f"instances is {kind}; {EXPECTED}")
        if len(instances) > self._max_rows:
            raise unprocessable(f"{len(instances)} rows in one request; at most {self._max_rows} are taken")
        every = ({"row": row} | error for row, instance in enumerate(instances) for error in self._errors(instance))
        if errors := list(islice(every, SHOWN)):
            first = errors[0]
            where = f"row {first['row']}" + (f", field {first['field']!r}" if "field" in first else "")
            raise unprocessable(f"{where}: {first['detail']}", errors)
        return [{name: _plain(instance[name]) for name in self._names} for instance in instances]

    def _errors(self, instance: Any) -> Iterator[dict[str, Any]]:
        """What is wrong with a row, by field."""
        if type(instance) is not dict:
            yield {"detail": f"is {_kind(instance)}; expected an object with a value per field"}
            return
        for field in self._fields:
            if field.name not in instance:
                yield {"field": field.name, "detail": "is missing"}
            elif wrong := _complaint(instance[field.name], field.type == "number", field.nullable):
                yield {"field": field.name, "detail": wrong}
        for name in instance:
            if self._known is not None and name not in self._known:
                printable = name.encode(errors="backslashreplace").decode()[:100]
                yield {"field": printable, "detail": "is not in the contract"}


def parse(body: bytes | memoryview, nan_is_null: bool = False) -> Any:
    """What is in a body: any JSON, and some that is not (NaN, Infinity, 1e400, lone surrogates), so that a field can be
    named. Raises Problem (400).
    """
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


def _attribute(number: int, name: str) -> str:
    """What a field is called in a struct."""
    return name if name.isascii() and name.isidentifier() and not name.startswith("_") else f"_field{number}"


def _to_records(names: list[str], unused: int) -> Callable[[list[Any]], list[Record]]:
    """A function from structs to records, without what comes last in them, the values of `unused`."""
    if names != [_attribute(n, name) for n, name in enumerate(names)]:
        values = msgspec.structs.astuple
        return lambda rows: [dict(zip(names, values(row), strict=False)) for row in rows]
    to_dict, others = msgspec.structs.asdict, [f"_unused{n}" for n in range(unused)]

    def at_once(rows: list[Any]) -> list[Record]:  # in two thirds of the time or so
        records = list(map(to_dict, rows))
        for record in records:
            for name in others:
                del record[name]
        return records

    return at_once


def _types(contract: Contract, limits: Serving) -> tuple[Callable[[bytes], Any], type[Any], list[type[Any]]]:
    """A parser of bodies, the type of a list of records, a struct for each, and that of a list of values by field."""
    types: list[Any] = [Number if field.type == "number" else str for field in contract.fields]
    kinds = [kind | None if field.nullable else kind for kind, field in zip(types, contract.fields, strict=True)]
    attributes = [_attribute(n, field.name) for n, field in enumerate(contract.fields)]
    fields: list[Any] = list(zip(attributes, kinds, strict=True))
    fields += [(f"_unused{n}", Any, None) for n, _ in enumerate(contract.unused)]
    names = [
        # What a struct cannot be told to read sends each record the slow way, which takes any name.
        f"column {n}, read elsewhere" if UNREADABLE.search(name) else name
        for n, name in enumerate([*(field.name for field in contract.fields), *contract.unused])
    ]
    row = msgspec.defstruct(
        "Row",
        fields,
        rename={made[0]: name for made, name in zip(fields, names, strict=True)},
        forbid_unknown_fields=limits.unknown_fields == "reject",
        gc=False,  # no cycles here, and a thousand rows would set the collector off
    )
    size = msgspec.Meta(min_length=1, max_length=limits.max_rows)
    rows: Any = Annotated[list[row], size]  # type: ignore[valid-type]
    columns: list[Any] = [Annotated[list[kind], size] for kind in kinds]  # type: ignore[valid-type]
    body = msgspec.defstruct("Body", [("instances", rows)], gc=False)
    return msgspec.json.Decoder(body).decode, rows, columns


def _instances(document: Any) -> Any:
    if type(document) is not dict or "instances" not in document:
        kind = "an object without instances" if type(document) is dict else _kind(document)
        raise unprocessable(f"the body is {kind}; {EXPECTED}")
    return document["instances"]


def _transposed(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows out of lists by column, not checked yet. Raises Problem."""
    lists = {name: _flat(name, values) for name, values in columns.items()}
    if len({len(values) for values in lists.values()}) > 1:
        sizes = ", ".join(f"{name} has {len(values)}" for name, values in list(lists.items())[:10])
        raise unprocessable(f"columns of different length: {sizes}"[:500])
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _flat(name: str, values: Any) -> list[Any]:
    if type(values) is not list:
        raise unprocessable(f"field {name[:100]!r}: is to be a list with a value for each row")
    return [value[0] if type(value) is list and len(value) == 1 else value for value in values]


def _plain(value: Value) -> Value:
    return float(value) if isinstance(value, int) else value


def _complaint(value: Any, is_number: bool, nullable: bool) -> str | None:
    if value is None:
        return None if nullable else "is null, but training saw no missing value here"
    if is_number:
        if type(value) not in (int, float):
            return f"is {_kind(value)}; expected a number"
        return None if -LARGEST <= value <= LARGEST else "is not a finite number that fits in 32 bits"
    if type(value) is not str:
        return f"is {_kind(value)}; expected a text"
    return "is no valid Unicode text: it holds half of a surrogate pair" if SURROGATE.search(value) else None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
