"""Clients that people have already: what is written for them works with the service unchanged."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline import bundle as bundles
from tests.engine.conftest import ROOT
from tests.engine.serving.conftest import Service, starter

TRITON = "tritonclient[http]==2.73.0"
UV = ("sh", str(ROOT / "requirements" / "tool.sh"), "uv", "run", "--quiet", "--no-project", "--with", TRITON, "python")


@pytest.fixture(name="service", scope="module")
def _service(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    for start in starter(trained, tmp_path_factory.mktemp("service")):
        yield start()


@pytest.fixture(name="records", scope="module")
def _records(trained: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (trained / "bundle" / "requests.jsonl").read_text().splitlines()[:20]]


@pytest.fixture(name="predictions", scope="module")
def _predictions(service: Service, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the service's own route answers."""
    status, answer = service.get("/predict", json.dumps({"instances": records}).encode())
    assert status == 200
    found: list[dict[str, Any]] = json.loads(answer)["predictions"]
    return found


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_mlflows_client(service: Service, records: list[dict[str, Any]], predictions: list[dict[str, Any]]) -> None:
    """The one that MLflow's own evaluation asks a scoring server with."""
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient("127.0.0.1", service.port)
    client.wait_server_ready(timeout=5)
    found = client.invoke(pd.DataFrame(records)).get_predictions()
    assert found.iloc[:, 0].tolist() == [each.get("label", each.get("value")) for each in predictions]
    with pytest.raises(Exception, match="error code 400"):
        client.invoke(pd.DataFrame(records).iloc[:, 1:])


def test_tritons_client(
    trained: Path, service: Service, records: list[dict[str, Any]], predictions: list[dict[str, Any]]
) -> None:
    """The one that Triton, KServe and MLServer are asked with."""
    bundle = bundles.read(trained / "bundle")
    script = str(Path(__file__).with_name("triton_client.py"))
    done = subprocess.run(
        [*UV, script, f"127.0.0.1:{service.port}", bundle.card.name],
        input=json.dumps(records),
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ready"] == [True] * 3
    classes = bundle.contract.classes
    if classes:
        expected = {
            "label": [each["label"] for each in predictions],
            "probabilities": [[each["probabilities"][name] for name in classes] for each in predictions],
        }
    else:
        expected = {"value": [each["value"] for each in predictions]}
    assert found["answers"] == [expected] * 4  # JSON and binary, and binary compressed in two ways
    card = bundle.card
    assert found["index"] == [{"name": card.name, "version": card.version, "state": "READY", "reason": ""}]
    for config in found["configs"]:
        assert (config["name"], config["platform"], config["max_batch_size"]) == (
            card.name,
            found["metadata"]["platform"],
            0,
        )
        for one, other in (("input", "inputs"), ("output", "outputs")):
            told = [
                (each["name"], each["datatype"].replace("BYTES", "STRING"), each["shape"])
                for each in found["metadata"][other]
            ]
            assert [(each["name"], each["data_type"][5:], each["dims"]) for each in config[one]] == told
    refused = found["refused"]
    assert f"field '{bundle.contract.fields[0].name}': is missing" in refused.pop("a missing input")
    assert "the parameter classification is not taken" in refused.pop("classes")
    assert all(reason.startswith("404: there is no '/v2/") for reason in refused.values()), refused
