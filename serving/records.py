"""From the bytes of a request to records that the model can take, or to a problem that names the row and the field."""

import json
import re
from collections.abc import Callable, Container, Iterator
from itertools import islice
from typing import Annotated, Any
from unicodedata import normalize

import msgspec

from pipeline.bundle import Contract
from pipeline.columns import Value
from pipeline.schema import Serving
from serving.fields import TYPES, is_more_than_json, kind, may_be_missing, reader
from serving.replies import bad_request, unprocessable

EXPECTED = 'expected {"instances": [{"field": value, ...}, ...]}'
UNREADABLE = re.compile(r'["\\\x00-\x1f\x7f]')  # in a name: msgspec's structs do not take it
SHOWN = 20  # errors in one answer

Record = dict[str, Value]


class Decoder:
    """From requests to records, with the fields of the contract only, numbers as floats.

    All methods raise Problem: 400 where a body is not JSON, 422 where it is not what the contract says.
    `lenient`: as MLflow reads requests. A field that may be null may be left out, a number may be a text, and a field
    that is not in the contract is ignored.
    """

    def __init__(self, contract: Contract, limits: Serving, lenient: bool = False) -> None:
        self._max_rows, gaps = limits.max_rows, limits.gaps == "answer"
        self._names = [field.name for field in contract.fields]
        nullable = [field.name for field in contract.fields if may_be_missing(field, gaps)]
        # Not what training saw in each row: a name with a typing error would be a missing value.
        self._optional = {field.name: None for field in contract.fields if lenient and field.nullable}
        # What a row may hold besides; None: anything.
        strict = limits.unknown_fields == "reject" and not lenient
        self._known = {*self._names, *contract.unused} if strict else None
        self._parse, self._rows, self._columns = _types(contract, limits.max_rows, strict, nullable, self._optional)
        self._records = _to_records(self._names, len(contract.unused))
        self._values = {field.name: reader(field, gaps, lenient) for field in contract.fields}
        # In most contracts, none.
        self._more = {field.name: self._values[field.name] for field in contract.fields if is_more_than_json(field)}

    def body(self, body: bytes) -> list[Record]:
        """Of {"instances": [{field: value}]}."""
        try:
            return self._finished(self._records(self._parse(body).instances))  # parsed and validated in one go
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return self._slowly(_instances(parse(body, EXPECTED)))

    def instances(self, instances: Any) -> list[Record]:
        """Of such a list, as `parse` gives it."""
        try:
            records = self._records(msgspec.convert(instances, self._rows))
            "".join(value for record in records for value in record.values() if type(value) is str).encode()
            return self._finished(records)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return self._slowly(instances)

    def columns(self, columns: dict[str, Any]) -> list[Record]:
        """Of {field: [value, ...]}, {field: [[value], ...]}, or {field: value}, which is that of every row."""
        names = self._names
        if self._known is not None and not columns.keys() <= self._known:
            return self.instances(self._transposed(columns))
        try:
            # Checked by column: a row costs no more than the dict that it becomes.
            checked = [msgspec.convert(columns[name], kind) for name, kind in zip(names, self._columns, strict=True)]
            records = [dict(zip(names, row, strict=True)) for row in zip(*checked, strict=True)]
            "".join(value for column in checked for value in column if type(value) is str).encode()
            return self._finished(records)
        except (msgspec.MsgspecError, RecursionError, KeyError, ValueError):
            columns = _composed(columns)
            if self._known is None:  # and if there is none of the contract, one will do to say so
                used = {name: columns[name] for name in names if name in columns}
                columns = used or dict(islice(columns.items(), 1))
            return self.instances(self._transposed(columns))

    def _finished(self, records: list[Record]) -> list[Record]:
        """The records with dates for texts, and None for words that mean it, in place. Raises ValueError."""
        for name, read in self._more.items():
            for record in records:
                record[name] = read(record[name])
        return records

    def _transposed(self, columns: dict[str, Any]) -> list[dict[str, Any]]:
        """Rows out of columns, not checked yet."""
        lists = {name: _flat(values) for name, values in columns.items() if type(values) is list}
        sizes = {name: len(values) for name, values in lists.items()}
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{name} has {size}" for name, size in list(sizes.items())[:10])
            raise unprocessable(f"columns of different length: {shown}"[:500])
        rows = next(iter(sizes.values()), 1)
        self._check_size(rows)
        lists |= {name: [value] * rows for name, value in columns.items() if name not in lists}
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]

    def _check_size(self, rows: int) -> None:
        if rows > self._max_rows:
            raise unprocessable(f"{rows} rows in one request; at most {self._max_rows} are taken")

    def _slowly(self, instances: Any) -> list[Record]:
        """What is wrong with them, raised; the records where nothing is."""
        if type(instances) is not list:
            raise unprocessable(f"the rows are {kind(instances)}; expected a list of objects")
        if not instances:
            raise unprocessable("there are no rows in the request")
        self._check_size(len(instances))
        instances = [self._optional | _composed(each) if type(each) is dict else each for each in instances]
        every = ({"row": row} | error for row, instance in enumerate(instances) for error in self._errors(instance))
        if errors := list(islice(every, SHOWN)):
            first = errors[0]
            where = f"row {first['row']}" + (f", field {first['field']!r}" if "field" in first else "")
            raise unprocessable(f"{where}: {first['detail']}", errors)
        return [{name: read(instance[name]) for name, read in self._values.items()} for instance in instances]

    def _errors(self, instance: Any) -> Iterator[dict[str, Any]]:
        """What is wrong with a row, by field."""
        if type(instance) is not dict:
            yield {"detail": f"is {kind(instance)}; expected an object with a value per field"}
            return
        for name, read in self._values.items():
            if name not in instance:
                yield {"field": name, "detail": "is missing"}
                continue
            try:
                read(instance[name])
            except ValueError as error:
                yield {"field": name, "detail": str(error)}
        for name in instance:
            if self._known is not None and name not in self._known:
                printable = name.encode(errors="backslashreplace").decode()[:100]
                yield {"field": printable, "detail": "is not in the contract"}


def parse(body: bytes | memoryview, expected: str, nan_is_null: bool = False) -> Any:
    """What is in a body: any JSON, and some that is not (NaN, Infinity, 1e400, lone surrogates), so that a field can be
    named. expected: what an empty one is told. Raises Problem (400).
    """
    if not body:
        raise bad_request(f"the body is empty; {expected}")
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


def _types(
    contract: Contract, max_rows: int, strict: bool, nullable: Container[str], optional: Container[str]
) -> tuple[Callable[[bytes], Any], type[Any], list[type[Any]]]:
    """A parser of bodies, the type of a list of records, a struct for each, and that of a list of values by field.

    `strict`: no unknown fields. `nullable`: fields that may be null. `optional`: those that may be left out.
    """
    kinds = [TYPES[field.type] | None if field.name in nullable else TYPES[field.type] for field in contract.fields]
    attributes = [_attribute(n, field.name) for n, field in enumerate(contract.fields)]
    fields: list[Any] = [
        (made, kind, None) if field.name in optional else (made, kind)
        for made, kind, field in zip(attributes, kinds, contract.fields, strict=True)
    ]
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
        kw_only=True,  # or the fields that may be left out would have to come last
        forbid_unknown_fields=strict,
        gc=False,  # no cycles here, and a thousand rows would set the collector off
    )
    size = msgspec.Meta(min_length=1, max_length=max_rows)
    rows: Any = Annotated[list[row], size]  # type: ignore[valid-type]
    columns: list[Any] = [Annotated[list[kind], size] for kind in kinds]  # type: ignore[valid-type]
    body = msgspec.defstruct("Body", [("instances", rows)], gc=False)
    return msgspec.json.Decoder(body).decode, rows, columns


def _instances(document: Any) -> Any:
    if type(document) is not dict or "instances" not in document:
        what = "an object without instances" if type(document) is dict else kind(document)
        raise unprocessable(f"the body is {what}; {EXPECTED}")
    instances = document["instances"]
    if type(instances) is not list or not instances:
        raise unprocessable(f"instances is {'an empty list' if instances == [] else kind(instances)}; {EXPECTED}")
    return instances


def _flat(values: list[Any]) -> list[Any]:
    return [value[0] if type(value) is list and len(value) == 1 else value for value in values]


def _composed(instance: dict[str, Any]) -> dict[str, Any]:
    """A row with each letter of its names as one code point where there is one, as the contract has them."""
    if all(type(name) is not str or name.isascii() for name in instance):  # of a split table, it may be a number
        return instance
    return {normalize("NFC", name) if type(name) is str else name: value for name, value in instance.items()}
