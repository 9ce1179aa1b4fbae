"""serving.protocols: the same answers in every protocol, and bad requests that never end in a 500."""

import csv
import gzip
import io
import json
import math
import random
import struct
import tracemalloc
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from pipeline import bundle as bundles
from pipeline.bundle import Bundle
from pipeline.columns import Record
from pipeline.settings import load_settings
from serving.coding import decoded
from serving.predictor import Scores
from serving.protocols import instances, mlflow
from serving.protocols.routes import Model
from serving.records import Decoder
from serving.replies import Problem
from tests.engine.conftest import PROJECT

JSON = {"Content-Type": "application/json"}
NAME = load_settings(PROJECT).project.name


@pytest.fixture(name="bundle")
def _bundle(trained: Path) -> Bundle:
    return bundles.read(trained / "bundle")


@pytest.fixture(name="rows")
def _rows(records: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(record) for record in records[:5]]


@pytest.fixture(name="expected")
def _expected(client: FlaskClient, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What POST /predict answers; other protocols say the same in their way."""
    found: list[dict[str, Any]] = json.loads(client.post("/predict", json={"instances": rows}).data)["predictions"]
    return found


def plain(predictions: list[dict[str, Any]]) -> list[Any]:
    """Labels, or values."""
    return [prediction.get("label", prediction.get("value")) for prediction in predictions]


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@given(
    classes=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=9), min_size=2, max_size=5, unique=True
    ),
    dice=st.randoms(use_true_random=False),
)
def test_a_class_may_have_any_name(classes: list[str], dice: random.Random) -> None:
    """Also one that msgspec's structs cannot write."""
    scores = [[dice.random() for _ in classes] for _ in range(3)]
    written = json.loads(msgspec.json.encode(instances.formatter(classes)(scores)))
    assert written == [
        {"label": classes[int(np.argmax(row))], "probabilities": dict(zip(classes, row, strict=True))} for row in scores
    ]


def test_kserve_v1(client: FlaskClient, bundle: Bundle, rows: list[dict[str, Any]], expected: list[Any]) -> None:
    """Readiness, the list of models, and predictions; errors in KServe's form."""
    path = f"/v1/models/{bundle.card.name}"
    assert client.get("/v1/models").json == {"models": [bundle.card.name]}
    assert client.get(path).json == {"name": bundle.card.name, "ready": True}
    assert client.post(f"{path}:predict", json={"instances": rows}).json["predictions"] == expected  # type: ignore[index]
    wrong = client.post(f"{path}:predict", json={"instances": [{}]})
    assert (wrong.status_code, list(wrong.json)) == (422, ["error"])  # type: ignore[arg-type]


def test_vertex_ai(bundle: Bundle) -> None:
    """A custom container is told its routes by the environment."""
    decode = Decoder(bundle.contract, load_settings(PROJECT).serving)
    model = Model(bundle.card, bundle.contract, decode, len, -1, 0, [])  # type: ignore[arg-type]
    told = {"AIP_PREDICT_ROUTE": "/v1/endpoints/7:predict", "AIP_HEALTH_ROUTE": "/v1/endpoints/7"}
    table = {(route.method, route.path) for route in instances.routes(model, told)}
    assert {("POST", told["AIP_PREDICT_ROUTE"]), ("GET", told["AIP_HEALTH_ROUTE"])} <= table
    assert len(instances.routes(model, {})) == len(table) - 2
    joined = {
        (route.method, route.path) for route in instances.routes(model, {name: f"{told[name]}/" for name in told})
    }
    assert joined == table


@pytest.mark.parametrize(
    "form", ["dataframe_split", "dataframe_records", "instances", "inputs", "inputs by row", "csv"]
)
def test_mlflow(client: FlaskClient, rows: list[dict[str, Any]], expected: list[Any], form: str) -> None:
    """Every form that MLflow's scoring server takes, and what `predict` of the model answers."""
    by_column = columns(rows)
    bodies: dict[str, Any] = {
        "dataframe_split": {"columns": list(by_column), "data": [list(row.values()) for row in rows]},
        "dataframe_records": rows,
        "instances": rows,
        "inputs": by_column,
    }
    if form == "csv":
        answer = client.post("/invocations", data=as_csv(rows), content_type="text/csv; charset=utf-8")
    else:
        name = form.removesuffix(" by row")
        content = rows if form == "inputs by row" else bodies[name]
        answer = client.post("/invocations", json={name: content, "params": {}})
    assert answer.status_code == 200, answer.data
    assert answer.json == {"predictions": plain(expected)}


def test_mlflow_ignores_columns_of_its_own(
    client: FlaskClient, rows: list[dict[str, Any]], expected: list[Any]
) -> None:
    """As MLflow's server does with what is not in the signature; and empty lines of CSV, as pandas does."""
    more = [row | {"Trem": 1} for row in rows]
    for form, content in {"dataframe_records": more, "inputs": columns(more)}.items():
        assert client.post("/invocations", json={form: content}).json == {"predictions": plain(expected)}
    table = as_csv(more).replace("\r\n", "\r\n\r\n")
    assert client.post("/invocations", data=table, content_type="text/csv").json == {"predictions": plain(expected)}


def test_mlflow_takes_nan_for_missing(bundle: Bundle, rows: list[dict[str, Any]]) -> None:
    """Python's clients write NaN into JSON, and pandas' names for it into CSV."""
    fields = [msgspec.structs.replace(field, nullable=True) for field in bundle.contract.fields]
    contract = msgspec.structs.replace(bundle.contract, fields=fields)
    decode, seen = Decoder(contract, load_settings(PROJECT).serving), []

    def predict(records: Sequence[Record]) -> Scores:
        seen.append(list(records))
        return [[0.0] * max(1, len(contract.classes))] * len(records)

    model = Model(bundle.card, contract, decode, predict, -1, 0, rows)
    (post,) = [route.answer for route in mlflow.routes(model) if route.path == "/invocations"]
    number = next(field.name for field in fields if field.type == "number")
    record = rows[0] | {number: float("nan")}
    split = {"columns": list(record), "data": [list(record.values())]}
    for document in ({"dataframe_split": split}, {"dataframe_records": [record]}, {"inputs": columns([record])}):
        assert post(json.dumps(document).encode(), []).status == 200
    for name in ("", "NaN", "NA", "<NA>"):
        table = as_csv([record | {number: name}]).encode()
        assert post(table, [(b"content-type", b"text/csv")]).status == 200
    assert all(found == seen[0] and found[0][number] is None for found in seen)
    assert len(seen) == 7
    odd = post(as_csv([record | {number: "1_000"}]).encode(), [(b"content-type", b"text/csv")])
    assert (odd.status, b"is no number" in odd.body) == (400, True)


def test_mlflow_probes(client: FlaskClient, bundle: Bundle) -> None:
    """Its clients wait for /ping or /health, and ask which MLflow they talk to."""
    assert [client.get(path).data for path in ("/ping", "/health")] == [b"\n", b"\n"]
    assert client.get("/version").text == bundle.card.libraries["mlflow"]


def tensors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "shape": [len(values), 1],
            "datatype": "BYTES" if isinstance(values[0], str) else "FP64",
            "data": values,
        }
        for name, values in columns(rows).items()
    ]


def binary(rows: list[dict[str, Any]], **more: Any) -> tuple[bytes, dict[str, str]]:
    """A request with all tensors in binary, and its header fields."""
    parts, inputs = [], tensors(rows)
    for tensor in inputs:
        data = tensor.pop("data")
        if tensor["datatype"] == "BYTES":
            parts.append(b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in data))
        else:
            parts.append(np.array(data, "<f8").tobytes())
        tensor["parameters"] = {"binary_data_size": len(parts[-1])}
    head = json.dumps({"inputs": inputs, **more}).encode()
    return head + b"".join(parts), {"Inference-Header-Content-Length": str(len(head))}


def outputs(document: dict[str, Any]) -> dict[str, Any]:
    return {output["name"]: output for output in document["outputs"]}


def check_outputs(found: dict[str, Any], expected: list[dict[str, Any]], classes: list[str]) -> None:
    if not classes:
        assert found["value"]["data"] == plain(expected)
        return
    assert found["label"]["data"] == plain(expected)
    assert found["probabilities"]["shape"] == [len(expected), len(classes)]
    flat = [prediction["probabilities"][name] for prediction in expected for name in classes]
    assert found["probabilities"]["data"] == flat


def test_open_inference(client: FlaskClient, bundle: Bundle, rows: list[dict[str, Any]], expected: list[Any]) -> None:
    """Server, health, metadata, and predictions, in JSON and in binary, with and without a version."""
    path = f"/v2/models/{bundle.card.name}"
    assert client.get("/v2").json["extensions"] == ["binary_tensor_data", "model_configuration"]  # type: ignore[index]
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}
    assert client.get(f"{path}/ready").json == {"name": bundle.card.name, "ready": True}
    metadata = client.get(path).json
    assert metadata["versions"] == [bundle.card.version]  # type: ignore[index]
    assert [each["name"] for each in metadata["inputs"]] == [field.name for field in bundle.contract.fields]  # type: ignore[index]
    for route in (f"{path}/infer", f"{path}/versions/{bundle.card.version}/infer"):
        answer = client.post(route, json={"id": "7", "inputs": tensors(rows)}).json
        assert (answer["id"], answer["model_name"]) == ("7", bundle.card.name)  # type: ignore[index]
        check_outputs(outputs(answer), expected, bundle.contract.classes)  # type: ignore[arg-type]
        assert {each["name"] for each in metadata["outputs"]} == set(outputs(answer))  # type: ignore[index,arg-type]
    body, fields = binary(rows)
    check_outputs(
        outputs(client.post(f"{path}/infer", data=body, headers=fields).json), expected, bundle.contract.classes
    )  # type: ignore[arg-type]


def test_open_inference_takes_null_for_what_may_be_left_out(
    client: FlaskClient, bundle: Bundle, rows: list[dict[str, Any]], expected: list[Any]
) -> None:
    """As other servers of the protocol do. An input that is there twice, or none, is explained in its words."""
    path = f"/v2/models/{bundle.card.name}/infer"
    inputs = [each | {"parameters": None} for each in tensors(rows)]
    answer = client.post(path, json={"id": None, "parameters": None, "outputs": None, "inputs": inputs}).json
    check_outputs(outputs(answer), expected, bundle.contract.classes)  # type: ignore[arg-type]
    twice = client.post(path, json={"inputs": [*tensors(rows), tensors(rows)[0]]})
    assert (twice.status_code, "two inputs are called" in twice.json["error"]) == (400, True)  # type: ignore[index]
    for nothing in (b"", b'{"inputs": []}'):
        said = client.post(path, data=nothing, headers=JSON).json["error"]  # type: ignore[index]
        assert "inputs" in said
        assert "instances" not in said


def test_open_inference_answers_in_binary(
    client: FlaskClient, bundle: Bundle, rows: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> None:
    """As clients ask for by default: a head of JSON, and tensors of little-endian numbers and of sized texts."""
    body, fields = binary(rows, parameters={"binary_data_output": True})
    answer = client.post(f"/v2/models/{bundle.card.name}/infer", data=body, headers=fields)
    assert answer.content_type == "application/octet-stream"
    length = int(answer.headers["Inference-Header-Content-Length"])
    found, rest = outputs(json.loads(answer.data[:length])), answer.data[length:]
    for output in found.values():
        part, rest = rest[: output["parameters"]["binary_data_size"]], rest[output["parameters"]["binary_data_size"] :]
        if output["datatype"] == "FP64":
            output["data"] = np.frombuffer(part, "<f8").tolist()
        else:
            output["data"] = []
            while part:
                (size,) = struct.unpack_from("<I", part)
                output["data"].append(part[4 : 4 + size].decode())
                part = part[4 + size :]
    assert rest == b""
    check_outputs(found, expected, bundle.contract.classes)


def test_open_inference_answers_what_is_asked_for(
    client: FlaskClient, bundle: Bundle, rows: list[dict[str, Any]]
) -> None:
    """Outputs by name; an unknown one is refused."""
    path = f"/v2/models/{bundle.card.name}/infer"
    name = "label" if bundle.contract.classes else "value"
    answer = client.post(path, json={"inputs": tensors(rows), "outputs": [{"name": name}]})
    assert list(outputs(answer.json)) == [name]  # type: ignore[arg-type]
    wrong = client.post(path, json={"inputs": tensors(rows), "outputs": [{"name": "price"}]})
    assert wrong.status_code == 400
    assert "no output 'price'" in wrong.json["error"]  # type: ignore[index]


def test_open_inference_leaves_out_what_would_mean_something_else(
    client: FlaskClient, bundle: Bundle, rows: list[dict[str, Any]]
) -> None:
    """Tensors in shared memory, and classes in place of probabilities, are refused and not passed over."""
    path, inputs = f"/v2/models/{bundle.card.name}/infer", tensors(rows)
    region = {"parameters": {"shared_memory_region": "mine"}}
    first = {key: value for key, value in inputs[0].items() if key != "data"} | region
    name = "label" if bundle.contract.classes else "value"
    for wrong in (
        {"inputs": [first, *inputs[1:]]},
        {"inputs": inputs, "outputs": [{"name": name, **region}]},
        {"inputs": inputs, "outputs": [{"name": name, "parameters": {"classification": 2}}]},
    ):
        answer = client.post(path, json=wrong)
        assert answer.status_code == 400
        assert "is not taken" in answer.json["error"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/v1/models/other:predict", {"error"}),
        ("/v2/models/other/infer", {"error"}),
        ("/v2/models/other", {"error"}),
        ("/invocations", {"error_code", "message"}),
        ("/other", {"type", "title", "status", "detail"}),
    ],
)
def test_errors_outside_of_a_route_have_the_protocols_form(client: FlaskClient, path: str, form: set[str]) -> None:
    """No such model, another method, a body too large: clients read their protocol's own field."""
    found = [client.delete(path), client.get(path)]
    if path != "/other":
        found.append(client.post(path, data=b" " * 1_000_001))
    for answer in found:
        assert answer.status_code in (404, 405, 413)
        assert set(answer.json) == form  # type: ignore[arg-type]


PACK = {"gzip": gzip.compress, "x-gzip": gzip.compress, "Deflate": zlib.compress, "identity": bytes}
PACK["GZIP"] = lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])  # RFC 1952: it may have several members
LIMIT = load_settings(PROJECT).serving.max_body_bytes


@pytest.mark.parametrize("coding", PACK)
def test_a_compressed_body(client: FlaskClient, bundle: Bundle, rows: list[dict[str, Any]], coding: str) -> None:
    """In every protocol, the answer is that to the body as it was. Triton's head counts what is not compressed."""
    name, (infer, fields) = bundle.card.name, binary(rows)
    as_instances = json.dumps({"instances": rows}).encode()
    for path, body, more in (
        ("/predict", as_instances, JSON),
        (f"/v1/models/{name}:predict", as_instances, JSON),
        ("/invocations", as_instances, JSON),
        ("/invocations", as_csv(rows).encode(), {"Content-Type": "text/csv"}),
        (f"/v2/models/{name}/infer", infer, fields),
    ):
        plain_answer = client.post(path, data=body, headers=more)
        assert plain_answer.status_code == 200
        answer = client.post(path, data=PACK[coding](body), headers=more | {"Content-Encoding": coding})
        assert (answer.status_code, answer.data) == (200, plain_answer.data)


@pytest.mark.parametrize("path", ["/predict", "/invocations", f"/v2/models/{NAME}/infer"])
def test_a_compressed_body_that_is_refused(client: FlaskClient, path: str) -> None:
    """A coding that is not known, with those that are (RFC 9110, 15.5.16); a damaged stream; one that is too large."""

    def post(coding: str, data: bytes) -> TestResponse:
        return client.post(path, data=data, headers=JSON | {"Content-Encoding": coding})

    for coding in ("br", "zstd", "gzip, gzip", "x" * 1000):
        answer = post(coding, b"{}")
        assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "gzip, deflate")
        assert coding[:50] in answer.text
    for coding in ("gzip", "deflate"):
        good = PACK.get(coding, zlib.compress)(b'{"instances": []}')
        for wrong in (b"", b"{}", good[:-1], good[:5], good + b"x", good[:-3] + b"xyz"):
            answer = post(coding, wrong)
            assert answer.status_code == 400
            assert coding in answer.text
        large = PACK.get(coding, zlib.compress)(b" " * (LIMIT + 1))
        assert post(coding, large).status_code == 413
    media = client.post("/invocations", data=b"<x/>", headers={"Content-Type": "text/xml"})
    assert (media.status_code, media.headers.get("Accept-Encoding")) == (415, None)


def test_a_bomb_is_not_let_off() -> None:
    """Of what blows a small body up, no more is made than a body may have."""
    bomb = gzip.compress(bytes(100 * LIMIT))
    assert len(bomb) < LIMIT
    tracemalloc.start()
    with pytest.raises(Problem) as caught:
        decoded(bomb, "gzip", LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.status == 413
    assert peak < 4 * LIMIT


def mutations(row: dict[str, Any]) -> dict[str, list[Any]]:
    """Wrong lists of records."""
    number = next(name for name, value in row.items() if not isinstance(value, str))
    without = {name: value for name, value in row.items() if name != number}
    wrong: list[Any] = [math.nan, math.inf, 1e39, -1e400, "84", True, [84, 85], {"a": 1}, 10**400, "\ud800"]
    found: dict[str, list[Any]] = {f"value {value!r:.20}": [row | {number: value}] for value in wrong}
    found |= {"missing": [without], "unknown": [row | {"Trem": 1}]}
    text = next((name for name, value in row.items() if isinstance(value, str)), None)
    if text:
        values: list[Any] = [5, False, ["CA", "NY"], {}, "\ud800"]
        found |= {f"text {value!r:.20}": [row | {text: value}] for value in values}
    return found | {"no rows": [], "too many rows": [row] * 1001, "second row": [row, without]}


def dumped(document: object) -> bytes:
    return json.dumps(document).encode("utf-8", errors="surrogatepass")


NO_DOCUMENT = [b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"{}", b"[" * 100_000, b'{"a":' * 100_000]


def bad_requests(protocol: str, row: dict[str, Any]) -> list[tuple[bytes, dict[str, str]]]:
    """At least forty for each protocol."""
    lists = list(mutations(row).values())
    if protocol == "instances":
        documents: list[Any] = [{"instances": rows} for rows in lists]
        documents += [{"instances": value} for value in (None, {}, 3, "x", [3], [[]], [None], [[row]], True)]
        documents += [{"instance": [row]}, {"rows": []}, [row], row]
        return [(dumped(d), JSON) for d in documents] + [(body, JSON) for body in NO_DOCUMENT]
    if protocol == "mlflow":
        taken = (row | {"Trem": 1}, *(row | {name: "84"} for name in row))  # by MLflow's server as well
        # NaN is how pandas writes a missing number.
        lists = [rows for rows in lists if not any(each in taken or "nan" in map(str, each.values()) for each in rows)]
        documents = [{"dataframe_records": rows} for rows in lists]
        documents += [{"inputs": columns(rows)} for rows in lists if rows and rows[0].keys() == rows[-1].keys()]
        documents += [
            {"dataframe_split": value} for value in (None, [], {}, {"columns": 3, "data": []}, {"data": [[1]]})
        ]
        documents += [{"dataframe_split": {"columns": list(row), "data": data}} for data in (3, [3], [[1]], [[]], [])]
        documents += [{"inputs": value} for value in (None, 3, {}, {"a": 3}, {"a": []}, {"a": [1], "b": [1, 2]})]
        documents += [{"inputs": [row], "instances": [row]}, {"rows": [row]}]
        head, first = as_csv([row]).split("\r\n")[:2]
        tables = [
            "",
            "\n",
            head,
            f"{head}\n1,2",
            f"{head}\n{first},1",
            f'{head}\n"',
            f"x\n{first}",
            head.replace(",", ";"),
        ]
        found = [(dumped(d), JSON) for d in documents] + [(body, JSON) for body in NO_DOCUMENT]
        found += [(table.encode(), {"Content-Type": "text/csv"}) for table in tables]
        return [*found, (b"\xff", {"Content-Type": "text/csv"}), (b"<x/>", {"Content-Type": "text/xml"})]
    good = tensors([row])
    documents = [{"inputs": tensors(rows)} for rows in lists if rows and all(r.keys() == rows[0].keys() for r in rows)]
    changes: list[dict[str, Any]] = [{"shape": shape} for shape in (None, [], [2], [-1], [1, 2], [1, 1, 1], "x", [1.5])]
    changes += [{"datatype": kind} for kind in (None, 3, "FP63", "BF16", "bytes")]
    changes += [{"data": data} for data in (None, 3, [], [1, 2], {}, "x")]
    changes += [{"name": name} for name in (None, 3, "Trem")]
    changes += [{"parameters": {"binary_data_size": size}} for size in (-1, 1, "8", [], 1.5)]
    documents += [{"inputs": [good[0] | change, *good[1:]]} for change in changes]
    documents += [{"inputs": value} for value in (None, 3, {}, [], [3])]
    found = [(dumped(d), JSON) for d in documents] + [(body, JSON) for body in NO_DOCUMENT]
    body, fields = binary([row])
    lengths = ["0", "5", "-1", "x", str(10**9), str(10**30), "1.5", " "]
    found += [(body, {"Inference-Header-Content-Length": length}) for length in lengths]
    return [*found, (body + b"x", fields), (body[:-1], fields), (body[: len(body) // 2], fields)]


@pytest.mark.parametrize("protocol", ["instances", "kserve", "mlflow", "open inference"])
def test_bad_requests(client: FlaskClient, bundle: Bundle, rows: list[dict[str, Any]], protocol: str) -> None:
    """Each is refused, says why, and is no fault of the service; afterwards it answers as before."""
    path = {
        "instances": "/predict",
        "kserve": f"/v1/models/{bundle.card.name}:predict",
        "mlflow": "/invocations",
        "open inference": f"/v2/models/{bundle.card.name}/infer",
    }[protocol]
    cases = bad_requests("instances" if protocol == "kserve" else protocol, rows[0])
    assert len(cases) >= 40
    for body, fields in cases:
        answer = client.post(path, data=body, headers=fields)
        assert answer.status_code in (400, 415, 422), (body[:300], fields, answer.data[:300])
        document = json.loads(answer.data)
        sentence = document.get("detail") or document.get("message") or document.get("error")
        assert sentence, document
        assert len(answer.data) < 10_000
    assert client.post("/predict", json={"instances": rows}).status_code == 200
