"""MLflow's scoring protocol: clients of `mlflow models serve` work unchanged.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally
"""

import csv
import io
from collections.abc import Callable
from typing import Any

import msgspec

from pipeline.bundle import Contract
from serving.predictor import Scores
from serving.protocols.routes import (
    ANYTHING,
    TEXT,
    Headers,
    Model,
    Route,
    array,
    constant,
    fields,
    header,
    prediction,
    ref,
)
from serving.records import Record, parse
from serving.replies import JSON, Problem, Reply, bad_request, unprocessable

# What pandas, by which MLflow's server reads CSV, takes for a missing number.
MISSING = {"", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "<NA>"}
MISSING |= {"#N/A", "#NA", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"}
UTF8 = {"utf-8", "utf8", "us-ascii", ""}  # charsets
csv.field_size_limit(2**31 - 1)  # a text may be long; max_body_bytes limits it
FORMATS = "dataframe_split, dataframe_records, instances, inputs"
EXPECTED = f"expected an object with one of {FORMATS}"
BY_COLUMN = {"anyOf": [ref("Records"), ANYTHING]}  # or by row
REQUEST = {
    "oneOf": [
        fields(dataframe_records=ref("Records")),
        fields(instances=BY_COLUMN),
        fields(dataframe_split=fields(columns=array(TEXT), data=array({"type": "array"}))),
        fields(inputs=BY_COLUMN),
    ]
}
PREDICTIONS = fields(predictions=array({"type": ["string", "number"]}))


def routes(model: Model) -> list[Route]:
    classes, names = model.contract.classes, [field.name for field in model.contract.fields]
    from_csv = _csv_reader(model.contract)

    def records(body: bytes, headers: Headers) -> list[Record]:
        if _media(header(headers, b"content-type")) == "text/csv":
            return model.decode.instances(from_csv(body))
        name, content = _format(parse(body, EXPECTED, nan_is_null=True))  # Python's own clients write NaN
        if name == "dataframe_split":
            return model.decode.instances(_from_split(content, names))
        if name != "dataframe_records":
            if type(content) is dict:
                return model.decode.columns(content)
            if len(names) == 1 and type(content) is list and dict not in map(type, content):
                return model.decode.columns({names[0]: content})
        return model.decode.instances(content)

    def answer(body: bytes, headers: Headers) -> Reply:
        scores = model.predict(records(body, headers))
        return Reply(200, JSON, msgspec.json.encode({"predictions": predictions(scores, classes)}), len(scores))

    nothing = Reply(200, "text/plain; charset=utf-8", b"\n")
    version = Reply(200, "text/plain; charset=utf-8", model.card.libraries.get("mlflow", "unknown").encode())
    split = {"columns": list(model.examples[0]), "data": [list(record.values()) for record in model.examples]}
    forms = {"dataframe_split": split, "dataframe_records": model.examples}
    examples = {form: {form: content} for form, content in forms.items()}
    there, tag = "Whether the service is there", "MLflow"
    return [
        prediction(model, "/invocations", answer, tag, REQUEST, PREDICTIONS, examples),
        constant("/ping", nothing, there, tag, TEXT),
        constant("/health", nothing, there, tag, TEXT),
        constant("/version", version, "The MLflow that registered the model", tag, TEXT),
    ]


def predictions(scores: Scores, classes: list[str]) -> list[Any]:
    """What `predict` of the registered model answers: labels, or values."""
    return [classes[row.index(max(row))] for row in scores] if classes else [row[0] for row in scores]


def _media(content_type: str) -> str:
    """The media type: text/csv, or JSON, which it is where nothing is said. Raises Problem (415)."""
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media not in ("application/json", "text/csv", ""):
        raise Problem(415, "Unsupported Media Type", f"{media[:100]!r} is not taken; application/json or text/csv")
    for name, _, value in (parameter.partition("=") for parameter in parameters):
        if name == "charset" and value.strip('"') not in UTF8:
            raise Problem(415, "Unsupported Media Type", f"the charset {value[:50]!r} is not taken; utf-8 is")
    return media


def _format(document: Any) -> tuple[str, Any]:
    """Which of MLflow's formats it is, and what is in it, not checked yet."""
    given = {name: document[name] for name in FORMATS.split(", ") if name in document} if type(document) is dict else {}
    if len(given) != 1:
        raise unprocessable(f"the body is to be an object with one of {FORMATS}")
    return given.popitem()


def _from_split(content: Any, names: list[str]) -> list[dict[str, Any]]:
    columns, rows = (content.get("columns"), content.get("data")) if type(content) is dict else (None, None)
    if type(columns) is not list or type(rows) is not list or any(type(name) in (list, dict) for name in columns):
        raise unprocessable("dataframe_split is to have columns, a list of names, and data")
    _check_once(columns, names)
    for number, row in enumerate(rows):
        if type(row) is not list or len(row) != len(columns):
            raise unprocessable(f"row {number}: is to be a list of {len(columns)} values, as there are columns")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _check_once(columns: list[Any], names: list[str]) -> None:
    """Raises Problem where it is not clear which column is a field."""
    if twice := [name for name in names if columns.count(name) > 1]:
        raise unprocessable(f"two columns are called {twice[0]!r}")


def _csv_reader(contract: Contract) -> Callable[[bytes], list[dict[str, Any]]]:
    names = [field.name for field in contract.fields]
    numbers = {field.name for field in contract.fields if field.type == "number"}

    def value(row: int, name: str, cell: str) -> float | str | None:
        if name not in numbers:
            return cell or None
        if cell in MISSING:
            return None
        try:
            return float(cell.replace("_", "?"))  # Python's 1_000 is no number elsewhere
        except ValueError:
            raise unprocessable(f"row {row}, field {name!r}: {cell[:100]!r} is no number") from None

    def read(body: bytes) -> list[dict[str, Any]]:
        try:
            lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise bad_request(f"the body is no CSV that can be read: {error}") from None
        head, *rows = [line for line in lines if line] or [[]]
        _check_once(head, names)
        for number, row in enumerate(rows):
            if len(row) != len(head):
                raise unprocessable(f"row {number}: has {len(row)} values, and the first line {len(head)} names")
        return [
            {name: value(n, name, cell) for name, cell in zip(head, row, strict=True)} for n, row in enumerate(rows)
        ]

    return read
