"""serving.app: what the service answers, right or wrong."""

import json
from pathlib import Path
from typing import Any, ClassVar

import mlflow.sklearn
import msgspec
import numpy as np
import pandas as pd
import pytest
import skops.io
from flask.testing import FlaskClient
from sklearn.base import BaseEstimator

from pipeline import bundle as bundles
from pipeline import columns as derivation
from pipeline.settings import load_settings
from serving.app import create_app
from serving.records import Decoder
from serving.replies import Problem
from tests.engine.conftest import PROJECT, ROOT
from training.onnx.comparison import largest_difference, predict, tolerance

SETTINGS = load_settings(PROJECT)


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


def field(trained: Path, kind: str) -> str:
    """A field of the contract of some type."""
    contract = bundles.read(trained / "bundle").contract
    names = [field.name for field in contract.fields if field.type == kind and not field.nullable]
    return names[0] if names else pytest.skip(f"the model has no {kind} field that is always there")


@pytest.fixture(name="number")
def _number(trained: Path) -> str:
    return field(trained, "number")


@pytest.fixture(name="text")
def _text(trained: Path) -> str:
    return field(trained, "text")


def test_raw_rows_of_the_file_are_answered_as_scikit_learn_does(client: FlaskClient, trained: Path) -> None:
    """No training/serving skew: whole rows of the file, unused columns included, agree with the registered pipeline."""
    mlflow.set_tracking_uri(f"sqlite:///{trained / 'mlflow.db'}")
    pipeline = mlflow.sklearn.load_model(f"models:/{SETTINGS.project.name}@candidate")
    texts = dict.fromkeys(SETTINGS.data.text, str)
    rows = pd.read_csv(trained / SETTINGS.data.path, dtype=texts, keep_default_na=False, na_values=[""])
    rows = rows.sample(min(500, len(rows)), random_state=1)
    answer = client.post("/predict", data=b'{"instances":' + rows.to_json(orient="records").encode() + b"}")
    assert answer.status_code == 200, answer.data
    predictions = json.loads(answer.data)["predictions"]
    expected = predict(pipeline, rows)
    if SETTINGS.data.task == "regression":
        served = np.array([prediction["value"] for prediction in predictions])
    else:
        served = np.array([[p["probabilities"][str(label)] for label in pipeline.classes_] for p in predictions])
        assert [prediction["label"] for prediction in predictions] == pipeline.predict(rows).tolist()
    assert largest_difference(served, expected) <= tolerance(expected)


def test_an_answer_has_the_shape_that_clients_rely_on(client: FlaskClient, trained: Path, loan: dict[str, Any]) -> None:
    """Every class by its own name, or a value; and the model that answered."""
    bundle = bundles.read(trained / "bundle")
    document = json.loads(client.post("/predict", data=body(loan)).data)
    (prediction,) = document["predictions"]
    if bundle.card.task == "regression":
        assert set(prediction) == {"value"}
    else:
        assert set(prediction) == {"label", "probabilities"}
        assert list(prediction["probabilities"]) == bundle.contract.classes
        assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert document["model"] == {"name": SETTINGS.project.name, "version": bundle.card.version}


def test_the_order_of_fields_is_free(client: FlaskClient, loan: dict[str, Any]) -> None:
    """JSON objects have no order."""
    turned = dict(reversed(loan.items()))
    assert client.post("/predict", data=body(loan)).data == client.post("/predict", data=body(turned)).data


def raw(loan: dict[str, Any], field: str, text: str) -> bytes:
    """A body with a value that json.dumps would not write."""
    marker = "@@@"
    return body(loan | {field: marker}).replace(f'"{marker}"'.encode(), text.encode())


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e39", "9" * 400, "9" * 5000, "1" + "0" * 39]
)
def test_a_number_that_is_none(client: FlaskClient, loan: dict[str, Any], number: str, value: str) -> None:
    """NaN, infinities and what does not fit in 32 bits: the field is named."""
    document = problem(client, raw(loan, number, value), 422)
    assert document["errors"] == [{"row": 0, "field": number, "detail": "is not a finite number that fits in 32 bits"}]


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("84", "is a text; expected a number"),
        (True, "is true or false; expected a number"),
        ([84], "is a list; expected a number"),
        ({"a": 1}, "is an object; expected a number"),
    ],
)
def test_what_is_no_number_is_named(
    client: FlaskClient, loan: dict[str, Any], number: str, value: object, detail: str
) -> None:
    """Row and field, in the sentence and as data."""
    document = problem(client, body(loan, loan | {number: value}), 422)
    assert document["errors"] == [{"row": 1, "field": number, "detail": detail}]
    assert document["detail"] == f"row 1, field '{number}': {detail}"


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (5, "is a number; expected a text"),
        (False, "is true or false; expected a text"),
        (["CA"], "is a list; expected a text"),
        ("\ud800", "is no valid Unicode text: it holds half of a surrogate pair"),
    ],
)
def test_what_is_no_text_is_named(
    client: FlaskClient, loan: dict[str, Any], text: str, value: object, detail: str
) -> None:
    """The same for texts."""
    document = problem(client, body(loan | {text: value}), 422)
    assert document["errors"] == [{"row": 0, "field": text, "detail": detail}]


def test_a_missing_field_is_named(client: FlaskClient, loan: dict[str, Any]) -> None:
    """All that are missing, not only the first."""
    lost = set(list(loan)[:2])
    kept = {name: value for name, value in loan.items() if name not in lost}
    assert {error["field"] for error in problem(client, body(kept), 422)["errors"]} == lost


def test_an_unknown_field_is_named(client: FlaskClient, loan: dict[str, Any], number: str) -> None:
    """A typing error never passes for a column that the model does without."""
    document = problem(client, body(loan | {"Trem": 1}), 422)
    assert document["errors"] == [{"row": 0, "field": "Trem", "detail": "is not in the contract"}]
    odd = problem(client, raw(loan, number, '84, "\\ud800": 1'), 422)
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


def test_a_missing_value_is_taken_where_training_saw_one(trained: Path, loan: dict[str, Any], number: str) -> None:
    """null is a value where the contract says so, and only there."""
    bundle = bundles.read(trained / "bundle")
    fields = [
        msgspec.structs.replace(field, nullable=field.name == number, gap=False) for field in bundle.contract.fields
    ]
    decode = Decoder(msgspec.structs.replace(bundle.contract, fields=fields), load_settings(PROJECT).serving).body
    assert decode(body(loan | {number: None}))[0][number] is None
    other = next(field.name for field in fields if field.name != number)
    with pytest.raises(Problem, match=f"field '{other}': is null"):
        decode(body(loan | {other: None}))


def test_a_value_may_be_missing_where_training_saw_none(
    client: FlaskClient, trained: Path, loan: dict[str, Any], number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These trees have an answer then. serving.gaps = "as-trained" refuses it, and names the field."""
    field = next(field for field in bundles.read(trained / "bundle").contract.fields if field.name == number)
    assert (field.nullable, field.gap) == (False, True)
    incomplete = body(loan | {number: None})
    assert client.post("/predict", data=incomplete).status_code == 200
    monkeypatch.setenv("MLOPS_SERVING__GAPS", "as-trained")
    strict = create_app(trained / "bundle").test_client()
    detail = "is null, but training saw no missing value here"
    assert problem(strict, incomplete, 422)["errors"] == [{"row": 0, "field": number, "detail": detail}]
    described = [each.get("/openapi.json").json["components"]["schemas"]["Record"] for each in (client, strict)]  # type: ignore[index]
    assert [record["properties"][number]["type"] for record in described] == [["number", "null"], "number"]


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


def test_too_many_rows_name_the_limit(client: FlaskClient) -> None:
    """pipeline.toml's serving.max_rows."""
    most = SETTINGS.serving.max_rows
    assert (
        f"at most {most}" in problem(client, b'{"instances":[' + b",".join([b"0"] * (most + 1)) + b"]}", 422)["detail"]
    )


def test_a_body_beyond_the_limit(client: FlaskClient) -> None:
    """413, whatever is in it."""
    problem(client, b" " * (SETTINGS.serving.max_body_bytes + 1), 413)


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
        ("POST", "/", 405),
        ("GET", "/predict/", 405),
        ("GET", "/predict/x", 404),
    ],
)
def test_wrong_doors(client: FlaskClient, method: str, path: str, status: int) -> None:
    """Unknown paths and methods are problems too; a 405 names what is allowed."""
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert ("Allow" in answer.headers) == (status == 405)
    assert "GET /openapi.json lists what there is" in answer.json["detail"] or status == 405  # type: ignore[index]


def test_slashes_at_the_end_and_more_than_one(client: FlaskClient) -> None:
    """Behind any WSGI server, without a redirect."""
    for path, status in (("//livez", 200), ("/livez/", 200), ("//predict//", 405), ("///", 200), ("/metrics/", 200)):
        assert client.get("/", environ_overrides={"PATH_INFO": path}).status_code == status


def test_pages_of_other_origins_may_call_where_pipeline_toml_says_so(
    trained: Path, loan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a browser asks: first whether it may, then for the answer. Without the setting nothing is said of it."""
    ours, theirs = "https://app.example.org", "https://evil.example.org"
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for setting, origins in (("[]", ()), (f'["{ours}"]', (ours,)), ('["*"]', (ours, theirs))):
        monkeypatch.setenv("MLOPS_SERVING__CORS_ORIGINS", setting)
        client = create_app(trained / "bundle").test_client()
        for origin in (ours, theirs):
            may = client.options("/predict", headers={"Origin": origin} | asks)
            answer = client.post("/predict", data=body(loan), headers={"Origin": origin})
            assert (may.status_code, answer.status_code) == (200, 200)
            for each in (may, answer):
                assert each.headers.get("Access-Control-Allow-Origin") == (origin if origin in origins else None)
                assert (each.headers.get("Vary") == "Origin") == (setting != "[]")
            allowed = may.headers.get("Access-Control-Allow-Headers"), may.headers.get("Access-Control-Allow-Methods")
            assert allowed == (("content-type", "GET, POST") if origin in origins else (None, None))
        for path in ("/predict", "/metrics", "/nope"):  # a field may hold any byte
            odd = client.options(path, headers={"Origin": "\xe9"} | asks | {"Access-Control-Request-Headers": "\xe9"})
            assert odd.status_code < 500


class Moody(BaseEstimator):
    """A model that scikit-learn would serve, and that may be unable to answer."""

    mood = "well"
    classes: ClassVar[int] = 0

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        if self.mood == "strict":
            raise ValueError("Found unknown categories ['x']\n in column 0 during transform")
        return np.full((len(frame), max(1, self.classes)), np.nan if self.mood == "lost" else 0.5)

    predict = predict_proba


@pytest.mark.parametrize(
    ("mood", "detail"),
    [
        ("strict", "the model has no answer: Found unknown categories ['x'] in column 0 during transform"),
        ("lost", "the model has no answer: row 0: the model's answer is not a finite number"),
    ],
)
def test_a_model_without_an_answer_is_no_fault_of_the_service(
    trained: Path, tmp_path: Path, loan: dict[str, Any], mood: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the contract allows and the model refuses or turns into NaN: a problem, never a 500 and never a null."""
    given = bundles.read(trained / "bundle")
    monkeypatch.setattr(Moody, "classes", len(given.contract.classes))
    monkeypatch.setenv("MLOPS_TRAINING__TRUSTED", '["tests"]')
    files = {name: (trained / "bundle" / name).read_bytes() for name in (bundles.CONTRACT, bundles.REQUESTS)}
    files[bundles.MODELS["sklearn"]] = skops.io.dumps(Moody())
    hashes = {name: bundles.sha256(data) for name, data in files.items()}
    card = msgspec.structs.replace(
        given.card, runtime="sklearn", reason="moody", files=hashes, bundle_sha256=bundles.digest(hashes)
    )
    bundles.write(tmp_path / "bundle", files, card)
    client = create_app(tmp_path / "bundle").test_client()
    monkeypatch.setattr(Moody, "mood", mood)
    assert problem(client, body(loan), 422)["detail"] == detail
    monkeypatch.setattr(Moody, "mood", "well")
    assert client.post("/predict", data=body(loan)).status_code == 200


def test_a_number_that_training_always_saw_is_not_missing(
    trained: Path, tmp_path: Path, loan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody compared what ONNX makes of it, a derived number that is None or NaN is a problem, not an answer."""
    given = bundles.read(trained / "bundle")
    numbers = [column.name for column in given.contract.columns if column.type == "number"]
    if given.card.runtime != "onnx" or not numbers:
        pytest.skip("scikit-learn refuses it, or there are no numbers")
    columns = [msgspec.structs.replace(each, nullable=each.name != numbers[0]) for each in given.contract.columns]
    changed = bundles.encode_contract(msgspec.structs.replace(given.contract, columns=columns))
    files = {name: (trained / "bundle" / name).read_bytes() for name in given.card.files} | {bundles.CONTRACT: changed}
    hashes = {name: bundles.sha256(data) for name, data in files.items()}
    card = msgspec.structs.replace(given.card, files=hashes, bundle_sha256=bundles.digest(hashes))
    bundles.write(tmp_path / "bundle", files, card)
    client = create_app(tmp_path / "bundle").test_client()
    usual = derivation.derive
    for value in (None, float("nan")):
        monkeypatch.setattr(derivation, "derive", lambda record, value=value: usual(record) | {numbers[0]: value})
        detail = problem(client, body(loan), 422)["detail"]
        assert (
            detail == f"the model has no answer: row 0: derive gives no {numbers[0]!r}, and training saw none missing"
        )
    monkeypatch.setattr(derivation, "derive", lambda record: usual(record) | {numbers[0]: 1.0})
    assert client.post("/predict", data=body(loan)).status_code == 200


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

    line, rows = 'http_requests_total{route="/predict",status="200"}', "predicted_rows_sum"
    before = count(line), count(rows)
    client.post("/predict", data=body(loan, loan, loan))
    assert (count(line), count(rows)) == (before[0] + 1, before[1] + 3)
    assert count(f'model_info{{name="{SETTINGS.project.name}",') == 1


def test_code_that_changed_since_training_is_refused(trained: Path, tmp_path: Path) -> None:
    """src/model runs on every record: a bundle that was trained with other code would answer nonsense."""
    bundle = bundles.read(trained / "bundle")
    files = {path.name: path.read_bytes() for path in bundle.folder.iterdir() if path.name != "card.json"}
    bundles.write(tmp_path / "bundle", files, msgspec.structs.replace(bundle.card, code_sha256="0" * 64))
    with pytest.raises(bundles.BundleError, match=r"trained with other code.*make train"):
        create_app(tmp_path / "bundle")


def test_the_service_imports_no_training_library() -> None:
    """What the ONNX image lacks is not imported on the way to an answer: neither MLflow nor scikit-learn nor pandas."""
    sources = "".join(path.read_text() for path in (ROOT / "serving").rglob("*.py"))
    for library in ("mlflow", "sklearn", "pydantic", "rich"):
        assert f"import {library}" not in sources
        assert f"from {library}" not in sources
