"""What MLflow's scoring server and the service are both asked: records and changes of them, formats, whole bodies."""

import csv
import io
import json
import random
from collections.abc import Callable
from typing import Any

from serving.protocols.mlflow import MISSING

Record = dict[str, Any]
Sent = tuple[str, bytes]  # media type and body
Change = Callable[[list[Record], random.Random], None]  # of records, in place
JSON, CSV = "application/json", "text/csv"
OPTIONAL = {"number": "Term", "text": "Bank"}  # fields
REQUIRED = {"number": "NoEmp", "text": "State"}


# How records become a body.


def dumped(document: object) -> Sent:
    return JSON, json.dumps(document).encode()


def by_name(rows: list[Record]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def split(rows: list[Record]) -> dict[str, Any]:
    by_column = by_name(rows)
    return {"columns": list(by_column), "data": [list(row) for row in zip(*by_column.values(), strict=True)]}


def table(rows: list[list[Any]], **dialect: Any) -> Sent:
    text = io.StringIO()
    csv.writer(text, **dialect).writerows(rows)
    return CSV, text.getvalue().encode()


def as_table(rows: list[Record], **dialect: Any) -> Sent:
    content = split(rows)
    return table([content["columns"], *content["data"]], **dialect)


FORMATS: dict[str, Callable[[list[Record]], Sent]] = {
    "dataframe_records": lambda rows: dumped({"dataframe_records": rows}),
    "dataframe_split": lambda rows: dumped({"dataframe_split": split(rows)}),
    "inputs by row": lambda rows: dumped({"inputs": rows}),
    "inputs by column": lambda rows: dumped({"inputs": by_name(rows)}),
    "instances by row": lambda rows: dumped({"instances": rows}),
    "instances by column": lambda rows: dumped({"instances": by_name(rows)}),
    "csv": as_table,
}
BY_ROW = ("dataframe_records", "inputs by row", "instances by row")
BY_COLUMN = ("inputs by column", "instances by column")
ALL, OF_JSON = tuple(FORMATS), tuple(FORMATS)[:-1]


# What is changed in records, in any format.


def put(name: str, *values: Any) -> Change:
    """One of the values in one of the rows."""

    def change(rows: list[Record], dice: random.Random) -> None:
        dice.choice(rows)[name] = dice.choice(values)

    return change


def everywhere(change: Callable[[Record], object]) -> Change:
    def of_all(rows: list[Record], _: random.Random) -> None:
        for row in rows:
            change(row)

    return of_all


def one(change: Callable[[Record], object]) -> Change:
    return lambda rows, dice: change(dice.choice(rows)) and None


def shuffle(rows: list[Record], dice: random.Random) -> None:
    for row in rows:
        mixed = list(row.items())
        dice.shuffle(mixed)
        row.clear()
        row.update(mixed)


NUMBER, TEXT = REQUIRED["number"], REQUIRED["text"]
CHANGES: dict[str, Change] = {
    "nothing": lambda *_: None,
    "another order of fields": shuffle,
    "a whole number": put(NUMBER, 0, 84, -7, 2**60),
    "a fraction": put(NUMBER, 0.25, 84.5, -1e-30, 3e38),
    "a number in quotes": put(NUMBER, "84", " 84 ", "1e3", "-.5"),
    "a text for a number": put(NUMBER, "x", "5%", "--5", "1,000"),
    "true for a number": put(NUMBER, True, False),
    "a list for a number": put(NUMBER, [84, 85], [[84, 85]]),
    "an empty list for a number": put(NUMBER, []),
    "a list of one number": put(NUMBER, [84]),
    "an object for a number": put(NUMBER, {}, {"a": 1}),
    "no finite number": put(NUMBER, 1e39, -1e39, float("inf"), float("-inf")),
    "a whole number past any float": put(NUMBER, 10**400),
    "an unknown text": put(TEXT, "ZZ", "\u00e9", "a,b", 'a "b" c', "a\nb", " CA", "5", "1e3", "TRUE"),
    "a long text": put(TEXT, "x" * 200_000),
    "an empty text": put(OPTIONAL["text"], ""),
    "an empty text where none was missing": put(TEXT, ""),
    "a text that pandas takes for none": put(OPTIONAL["text"], "NA", "null", "None"),
    "a number for a text": put(TEXT, 5, 5.5),
    "true for a text": put(TEXT, True, False),
    "a list for a text": put(TEXT, ["CA", "NY"], []),
    "a list of one text": put(TEXT, ["CA"]),
    "an object for a text": put(TEXT, {}, {"a": 1}),
    "half of a pair of surrogates": put(TEXT, "\ud800"),
    "null for a number": put(OPTIONAL["number"], None, float("nan")),
    "null for a text": put(OPTIONAL["text"], None),
    "NaN for a text": put(OPTIONAL["text"], float("nan")),
    "null for a number where none was missing": put(NUMBER, None, float("nan")),
    "null for a text where none was missing": put(TEXT, None, float("nan")),
    "an optional number left out": everywhere(lambda row: row.pop(OPTIONAL["number"])),
    "an optional text left out": everywhere(lambda row: row.pop(OPTIONAL["text"])),
    "a required number left out": everywhere(lambda row: row.pop(NUMBER)),
    "a required text left out": everywhere(lambda row: row.pop(TEXT)),
    "an optional number left out of one row": one(lambda row: row.pop(OPTIONAL["number"])),
    "an optional text left out of one row": one(lambda row: row.pop(OPTIONAL["text"])),
    "a required number left out of one row": one(lambda row: row.pop(NUMBER)),
    "a required text left out of one row": one(lambda row: row.pop(TEXT)),
    "one more field": everywhere(lambda row: row.update(Trem=1)),
    "one more field of texts": everywhere(lambda row: row.update({"": "x", "\u00e9": "NA", "a\nb": ""})),
    "one more field in one row": one(lambda row: row.update(Trem=1)),
}


# What is changed in bodies.


def bodies(rows: list[Record]) -> dict[str, Sent]:
    by_column, by_row, whole = by_name(rows), {"dataframe_records": rows}, split(rows)
    names, data, first = whole["columns"], whole["data"], rows[0]
    documents: dict[str, Any] = {
        "scalars in inputs": {"inputs": first},
        "scalars in instances": {"instances": first},
        "scalars without an optional one": {"inputs": {k: v for k, v in first.items() if k != OPTIONAL["number"]}},
        "scalars without a required one": {"inputs": {k: v for k, v in first.items() if k != NUMBER}},
        "scalars, a number null": {"inputs": first | {OPTIONAL["number"]: None}},
        "scalars, a text null": {"inputs": first | {OPTIONAL["text"]: None}},
        "a number for all rows": {"inputs": by_column | {NUMBER: first[NUMBER]}},
        "a text for all rows": {"instances": by_column | {TEXT: first[TEXT]}},
        "all but one for all rows": {"inputs": first | {NUMBER: by_column[NUMBER]}},
        "lists of lists of one": {"inputs": {name: [[value] for value in by_column[name]] for name in names}},
        "lists of different length": {"inputs": by_column | {NUMBER: by_column[NUMBER][1:]}},
        "lists of one beside longer ones": {"inputs": by_column | {NUMBER: by_column[NUMBER][:1]}},
        "one more column of another length": {"inputs": by_column | {"Trem": [1]}},
        "one more column of lists": {"inputs": by_column | {"Trem": [[1, 2]] * len(rows)}},
        "columns without rows": {"inputs": {name: [] for name in names}},
        "no columns": {"inputs": {}},
        "no rows": {"dataframe_records": []},
        "no rows of instances": {"instances": []},
        "rows that are lists": {"dataframe_records": data},
        "inputs that are lists": {"inputs": data},
        "instances that are lists": {"instances": data},
        "records that are an object": {"dataframe_records": first},
        "records that are columns": {"dataframe_records": by_column},
        "a row that is null": {"dataframe_records": [*rows, None]},
        "a row that is a number": {"instances": [*rows, 3]},
        "a row without fields": {"dataframe_records": [{}]},
        "rows of lists of one": {"instances": [{name: [value] for name, value in first.items()}]},
        "an index": {"dataframe_split": whole | {"index": list(range(7, 7 + len(rows)))}},
        "an index of null": {"dataframe_split": whole | {"index": None}},
        "an index of other length": {"dataframe_split": whole | {"index": [1] * 9}},
        "an index that is none": {"dataframe_split": whole | {"index": 3}},
        "pandas' format tight": {"dataframe_split": whole | {"index_names": [None], "column_names": [None]}},
        "split in another order": {"dataframe_split": {"columns": names[::-1], "data": [row[::-1] for row in data]}},
        "split without columns": {"dataframe_split": {"data": data}},
        "split without data": {"dataframe_split": {"columns": names}},
        "split without rows": {"dataframe_split": {"columns": names, "data": []}},
        "split of one row": {"dataframe_split": {"columns": names, "data": data[0]}},
        "split of objects": {"dataframe_split": {"columns": names, "data": rows}},
        "split of columns": {"dataframe_split": {"columns": names, "data": by_column}},
        "split, with one value more": {"dataframe_split": {"columns": names, "data": [[*row, 1] for row in data]}},
        "split, with one value less": {"dataframe_split": {"columns": names, "data": [row[:-1] for row in data]}},
        "split, a row cut off": {"dataframe_split": {"columns": names, "data": [*data, data[0][:-1]]}},
        "split, a field twice": {"dataframe_split": {"columns": [*names, NUMBER], "data": [[*row, 1] for row in data]}},
        "split, another twice": {
            "dataframe_split": {"columns": [*names, 3, 3], "data": [[*row, 1, 2] for row in data]}
        },
        "split, a column without a name": {
            "dataframe_split": {"columns": [*names, None], "data": [[*row, 1] for row in data]}
        },
        "split that is a list": {"dataframe_split": data},
        "params": by_row | {"params": {"threshold": 0.5}},
        "params that are none": by_row | {"params": 3},
        "another key": by_row | {"signature_name": "x"},
        "a key of language models": by_row | {"messages": []},
        "two formats": by_row | {"inputs": rows},
        "no format": {"rows": rows},
        "a list": rows,
        "null": None,
        "a text": "x",
    }
    good = json.dumps(by_row).encode()
    sent = {name: dumped(document) for name, document in documents.items()}
    texts = {"BOM": b"\xef\xbb\xbf" + good, "white space": b" \n" + good + b"\n", "something after it": good + b"x"}
    texts |= {"cut off": good[:-1], "empty": b"", "no text": b"\xff", "UTF-16": good.decode().encode("utf-16")}
    texts |= {"a key twice": good.replace(f'"{NUMBER}": '.encode(), f'"{NUMBER}": "x", "{NUMBER}": '.encode())}
    texts |= {"a name in quotes": good.replace(b'"', b"'"), "a comma at the end": good[:-1] + b",}"}
    sent |= {f"JSON, {name}": (JSON, body) for name, body in texts.items()}
    media = [
        "text/plain",
        "text/json",
        "*/*",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "",
        "X/JSON",
    ]
    media += [
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json; charset=latin-1",
    ]
    media += ["application/json; format=pandas-split", "Application/JSON", "application/json;"]
    sent |= {f"as {each!r}": (each, good) for each in media}
    good = as_table(rows)[1]
    tables = {
        "\\n": as_table(rows, lineterminator="\n"),
        "\\r": as_table(rows, lineterminator="\r"),
        "everything in quotes": as_table(rows, quoting=csv.QUOTE_ALL),
        "semicolons": as_table(rows, delimiter=";"),
        "tabs": as_table(rows, delimiter="\t"),
        "BOM": (CSV, b"\xef\xbb\xbf" + good),
        "empty lines": (CSV, good.replace(b"\r\n", b"\r\n\r\n")),
        "a line of spaces": (CSV, good + b"   \r\n"),
        "no end of the last line": (CSV, good.rstrip()),
        "latin-1": (CSV, good.replace(b"A", b"\xc4")),
        "an open quote": (CSV, good + b'"'),
        "a line cut off": table([names, *data, data[0][:-1]]),
        "a line with one more": table([names, *data, [*data[0], 1]]),
        "lines with one less": table([names, *(row[:-1] for row in data)]),
        "an index": table([["", *names], *([7, *row] for row in data)]),
        "an index without a name": table([names, *([7, *row] for row in data)]),
        "two more without a name": table([["", "", *names], *([7, 8, *row] for row in data)]),
        "a field twice": table([[*names, NUMBER], *([*row, 1] for row in data)]),
        "no rows": table([names]),
        "no header": table(data),
        "empty": (CSV, b""),
        "a name in spaces": table([[f" {name}" for name in names], *data]),
    }
    for text in sorted(MISSING):
        tables[f"{text!r} for a number"] = as_table([first | {OPTIONAL["number"]: text}])
    for charset in ("utf-8", "latin-1"):
        tables[f"as {charset}"] = (f"{CSV}; charset={charset}", good)
    return sent | {f"CSV, {name}": each for name, each in tables.items()}
