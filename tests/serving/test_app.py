"""serving.app: what the service answers, right or wrong."""

import json
from pathlib import Path
from typing import Any

import mlflow.sklearn
import msgspec
import numpy as np
import pandas as pd
import pytest
from flask.testing import FlaskClient

from pipeline import bundle as bundles
from serving.app import create_app
from tests.conftest import ROOT
from training.export import predict


def body(*records: object) -> bytes:
    return json.dumps({"instances": list(records)}).encode()


@pytest.fixture(name="loan")
def _loan(records: list[bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(records[0])
    return found


def problem(client: FlaskClient, data: bytes, status: int) -> dict[str, Any]:
    """The problem that a body is answered with, checked for its form."""
    answer = client.post("/predict", data=data)
    assert answer.status_code == status, answer.data
    assert answer.content_type == "application/problem+json"
    document: dict[str, Any] = json.loads(answer.data)
    assert {"type", "title", "status", "detail"} <= set(document)
    assert document["status"] == status
    return document


def test_raw_rows_of_the_file_are_answered_as_scikit_learn_does(client: FlaskClient, trained: Path) -> None:
    """No training/serving skew: whole rows of the file, stray codes and unused columns included, agree to 1e-6."""
    mlflow.set_tracking_uri(f"sqlite:///{trained / 'mlflow.db'}")
    pipeline = mlflow.sklearn.load_model("models:/loan-default@candidate")
    frame = pd.read_csv(trained / "data" / "sba_loans.csv", dtype={"RevLineCr": str})
    rows = pd.concat(
        [frame[frame["RevLineCr"].isin(["0", "T"])].head(100), frame[frame["NAICS"] == 0].head(50), frame.tail(50)]
    )
    answer = client.post("/predict", data=b'{"instances":' + rows.to_json(orient="records").encode() + b"}")
    assert answer.status_code == 200, answer.data
    predictions = json.loads(answer.data)["predictions"]
    expected = predict(pipeline, rows)
    for column, label in enumerate(pipeline.classes_):
        served = [prediction["probabilities"][label] for prediction in predictions]
        np.testing.assert_allclose(served, expected[:, column], rtol=0, atol=1e-6)
    assert [prediction["label"] for prediction in predictions] == pipeline.predict(rows).tolist()


def test_an_answer_names_every_class_and_the_model(client: FlaskClient, loan: dict[str, Any]) -> None:
    """The shape that clients rely on."""
    document = json.loads(client.post("/predict", data=body(loan)).data)
    (prediction,) = document["predictions"]
    assert set(prediction) == {"label", "probabilities"}
    assert set(prediction["probabilities"]) == {"CHGOFF", "P I F"}
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert document["model"] == {"name": "loan-default", "version": "1"}


def test_the_order_of_fields_is_free(client: FlaskClient, loan: dict[str, Any]) -> None:
    """JSON objects have no order."""
    turned = dict(reversed(loan.items()))
    assert client.post("/predict", data=body(loan)).data == client.post("/predict", data=body(turned)).data


def raw(loan: dict[str, Any], field: str, text: str) -> bytes:
    """A body with a value that json.dumps would not write."""
    marker = "@@@"
    return body(loan | {field: marker}).replace(f'"{marker}"'.encode(), text.encode())


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e39", "9" * 400, "9" * 5000, "1" + "0" * 39]
)
def test_a_number_that_is_none(client: FlaskClient, loan: dict[str, Any], text: str) -> None:
    """NaN, infinities and what does not fit in 32 bits: the field is named."""
    document = problem(client, raw(loan, "Term", text), 422)
    assert document["errors"] == [{"row": 0, "field": "Term", "detail": "is not a finite number that fits in 32 bits"}]


@pytest.mark.parametrize(
    ("field", "value", "detail"),
    [
        ("Term", "84", "is a text; expected a number"),
        ("Term", True, "is true or false; expected a number"),
        ("Term", [84], "is a list; expected a number"),
        ("Term", {"a": 1}, "is an object; expected a number"),
        ("Term", None, "is null, but training saw no missing value here"),
        ("State", 5, "is a number; expected a text"),
        ("State", False, "is true or false; expected a text"),
        ("State", None, "is null, but training saw no missing value here"),
        ("State", ["CA"], "is a list; expected a text"),
        ("State", "\ud800", "is no valid Unicode text: it holds half of a surrogate pair"),
    ],
)
def test_a_wrong_value_is_named(
    client: FlaskClient, loan: dict[str, Any], field: str, value: object, detail: str
) -> None:
    """Row and field, in the sentence and as data."""
    document = problem(client, body(loan, loan | {field: value}), 422)
    assert document["errors"] == [{"row": 1, "field": field, "detail": detail}]
    assert document["detail"] == f"row 1, field '{field}': {detail}"


def test_a_missing_field_is_named(client: FlaskClient, loan: dict[str, Any]) -> None:
    """All that are missing, not only the first."""
    del loan["Term"], loan["State"]
    fields = {error["field"] for error in problem(client, body(loan), 422)["errors"]}
    assert fields == {"Term", "State"}


def test_an_unknown_field_is_named(client: FlaskClient, loan: dict[str, Any]) -> None:
    """A typing error never passes for a column that the model does without."""
    document = problem(client, body(loan | {"Trem": 1}), 422)
    assert document["errors"] == [{"row": 0, "field": "Trem", "detail": "is not in the contract"}]
    odd = problem(client, raw(loan, "Term", '84, "\\ud800": 1'), 422)
    assert odd["errors"][0]["detail"] == "is not in the contract"


def test_pipeline_toml_may_let_unknown_fields_pass(
    trained: Path, loan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """serving.unknown_fields = "ignore"."""
    monkeypatch.setenv("MLOPS_SERVING__UNKNOWN_FIELDS", "ignore")
    lenient = create_app(trained / "bundle").test_client()
    expected = lenient.post("/predict", data=body(loan))
    assert expected.status_code == 200
    assert lenient.post("/predict", data=body(loan | {"Trem": 1})).data == expected.data


def test_a_missing_value_is_taken_where_training_saw_one(trained: Path, tmp_path: Path, loan: dict[str, Any]) -> None:
    """null is a value where the contract says so."""
    bundle = bundles.read(trained / "bundle")
    fields = [msgspec.structs.replace(f, nullable=f.name in ("NAICS", "Bank")) for f in bundle.contract.fields]
    files = {path.name: path.read_bytes() for path in bundle.folder.iterdir() if path.name != "card.json"}
    files["contract.json"] = msgspec.json.encode(msgspec.structs.replace(bundle.contract, fields=fields))
    hashes = {name: bundles.sha256(data) for name, data in files.items()}
    bundles.write(tmp_path / "bundle", files, msgspec.structs.replace(bundle.card, files=hashes))
    client = create_app(tmp_path / "bundle").test_client()
    assert client.post("/predict", data=body(loan | {"NAICS": None, "Bank": None})).status_code == 200
    assert problem(client, body(loan | {"Term": None}), 422)["errors"][0]["field"] == "Term"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"{'instances': []}", 400),
        (b"\xff\xfe", 400),
        (b'{"instances": [{}]} trailing', 400),
        (b"[" * 100_000, 400),
        (b'{"instances":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"a":' * 100_000, 400),
        (b"null", 422),
        (b"[]", 422),
        (b"3", 422),
        (b'"text"', 422),
        (b"{}", 422),
        (b'{"instances": []}', 422),
        (b'{"instances": {}}', 422),
        (b'{"instances": null}', 422),
        (b'{"instances": [3]}', 422),
        (b'{"instances": [[]]}', 422),
        (b'{"instances": [{}]}', 422),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_that_is_no_request(client: FlaskClient, data: bytes, status: int) -> None:
    """Not JSON: 400. JSON of another shape: 422. Never a 500."""
    problem(client, data, status)


def test_too_many_rows_name_the_limit(client: FlaskClient, loan: dict[str, Any]) -> None:
    """pipeline.toml's serving.max_rows."""
    assert "at most 1000" in problem(client, body(*[loan] * 1001), 422)["detail"]


def test_a_body_beyond_the_limit(client: FlaskClient) -> None:
    """413, whatever is in it."""
    problem(client, b" " * 10_000_000, 413)


def test_many_errors_are_cut(client: FlaskClient) -> None:
    """The answer to a bad request stays short."""
    assert len(problem(client, body(*[{}] * 500), 422)["errors"]) == 20


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("PUT", "/predict", 405),
        ("POST", "/livez", 405),
        ("GET", "/nope", 404),
        ("POST", "/", 404),
    ],
)
def test_wrong_doors(client: FlaskClient, method: str, path: str, status: int) -> None:
    """Unknown paths and methods are problems too; a 405 names what is allowed."""
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert ("Allow" in answer.headers) == (status == 405)


def test_the_model_tells_where_it_comes_from(client: FlaskClient, trained: Path) -> None:
    """GET /model is the card."""
    assert json.loads(client.get("/model").data) == json.loads((trained / "bundle" / "card.json").read_bytes())


def test_the_probes(client: FlaskClient) -> None:
    """Alive and ready."""
    assert [client.get(path).status_code for path in ("/livez", "/readyz")] == [200, 200]


def test_metrics_count(client: FlaskClient, loan: dict[str, Any]) -> None:
    """Requests by route and status, rows, and which model answers."""

    def count(line: str) -> float:
        found = [
            float(text.rsplit(" ", 1)[1]) for text in client.get("/metrics").text.splitlines() if text.startswith(line)
        ]
        return found[0] if found else 0

    line, rows = 'http_requests_total{route="/predict",status="200"}', "predicted_rows_total"
    before = count(line), count(rows)
    client.post("/predict", data=body(loan, loan, loan))
    assert (count(line), count(rows)) == (before[0] + 1, before[1] + 3)
    assert count('model_info{name="loan-default",version="1"}') == 1


def test_code_that_changed_since_training_is_refused(trained: Path, tmp_path: Path) -> None:
    """src/model runs on every record: a bundle that was trained with other code would answer nonsense."""
    bundle = bundles.read(trained / "bundle")
    files = {path.name: path.read_bytes() for path in bundle.folder.iterdir() if path.name != "card.json"}
    bundles.write(tmp_path / "bundle", files, msgspec.structs.replace(bundle.card, code_sha256="0" * 64))
    with pytest.raises(bundles.BundleError, match=r"trained with other code.*make train"):
        create_app(tmp_path / "bundle")


def test_the_service_imports_no_training_library() -> None:
    """What the ONNX image lacks is not imported on the way to an answer: neither MLflow nor scikit-learn nor pandas."""
    sources = "".join(path.read_text() for path in (ROOT / "serving").glob("*.py"))
    for library in ("mlflow", "sklearn", "pydantic", "rich"):
        assert f"import {library}" not in sources
        assert f"from {library}" not in sources
