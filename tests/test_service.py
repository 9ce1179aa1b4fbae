"""The service: it answers recorded requests in each protocol, and wrong ones with a reason."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline import bundle as bundles
from pipeline.bundle import Bundle

SOME = 20  # records
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
QUICK = settings(
    max_examples=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

Record = dict[str, Any]


@pytest.fixture(name="bundle", scope="module")
def _bundle(trained: Path) -> Bundle:
    return bundles.read(trained / "bundle")


@pytest.fixture(name="records", scope="module")
def _records(bundle: Bundle) -> list[Record]:
    lines = (bundle.folder / bundles.REQUESTS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:SOME]]


def post(url: str, body: Any, media: str = "application/json") -> Any:
    """The answer to a request that has to be answered."""
    data = body if media == "text/csv" else json.dumps(body)
    answer = requests.post(url, data=data.encode(), headers={"Content-Type": media}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(name="predictions", scope="module")
def _predictions(service: str, records: list[Record]) -> list[Record]:
    """What POST /predict answers to the records."""
    answers: list[Record] = post(f"{service}/predict", {"instances": records})["predictions"]
    return answers


def plain(predictions: list[Record]) -> list[Any]:
    """Labels or values."""
    return [prediction.get("label", prediction.get("value")) for prediction in predictions]


def test_predict(predictions: list[Record], records: list[Record], bundle: Bundle) -> None:
    """An answer for each record: a label with the probabilities of all classes, or a value."""
    assert len(predictions) == len(records)
    for prediction in predictions:
        if bundle.contract.task == "regression":
            assert isinstance(prediction["value"], float)
        else:
            assert list(prediction["probabilities"]) == bundle.contract.classes
            assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)
            assert prediction["probabilities"][prediction["label"]] == max(prediction["probabilities"].values())


def test_kserve_and_vertex_ai(service: str, records: list[Record], predictions: list[Record], bundle: Bundle) -> None:
    """KServe V1, which Vertex AI speaks as well."""
    answer = post(f"{service}/v1/models/{bundle.card.name}:predict", {"instances": records})
    assert answer["predictions"] == predictions


def test_open_inference(service: str, records: list[Record], predictions: list[Record], bundle: Bundle) -> None:
    """KServe V2, as Triton's clients speak it: a tensor for each column."""
    kinds = {"number": "FP64", "text": "BYTES", "boolean": "BOOL", "date": "BYTES"}
    tensors = [
        {
            "name": field.name,
            "shape": [len(records), 1],
            "datatype": kinds[field.type],
            "data": [record[field.name] for record in records],
        }
        for field in bundle.contract.fields
    ]
    answer = post(f"{service}/v2/models/{bundle.card.name}/infer", {"inputs": tensors})
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert outputs["label" if bundle.contract.classes else "value"] == plain(predictions)


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "inputs", "csv"])
def test_mlflow(service: str, records: list[Record], predictions: list[Record], form: str) -> None:
    """MLflow's scoring protocol, which SageMaker speaks as well."""
    columns = list(records[0])
    table = io.StringIO()
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    writer.writerows(records)
    bodies: dict[str, Any] = {
        "dataframe_split": {"columns": columns, "data": [list(record.values()) for record in records]},
        "dataframe_records": records,
        "inputs": {name: [record[name] for record in records] for name in columns},
    }
    if form == "csv":
        answer = post(f"{service}/invocations", table.getvalue(), "text/csv")
    else:
        answer = post(f"{service}/invocations", {form: bodies[form]})
    assert answer == {"predictions": plain(predictions)}


def test_a_wrong_record_is_named(service: str, records: list[Record]) -> None:
    """Row and field, in a problem document (RFC 9457)."""
    name = next(iter(records[0]))
    wrong = [records[0], records[0] | {name: {"not": "a cell"}}]
    answer = requests.post(f"{service}/predict", json={"instances": wrong}, timeout=60)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "row 1" in answer.json()["detail"]
    assert name in answer.json()["detail"]


def test_it_does_what_openapi_json_says(service: str) -> None:
    """Requests made from the description get the statuses, types and schemas that it promises."""
    schema = schemathesis.openapi.from_url(f"{service}/openapi.json")
    for operation in schema.get_all_operations():

        @QUICK
        @given(operation.ok().as_strategy())
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        ask()
