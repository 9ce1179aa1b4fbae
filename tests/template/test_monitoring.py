"""The rules for Prometheus, by its own promtool: when an alert fires, and when it does not."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.conftest import ROOT

RULES = ROOT / "deploy" / "monitoring" / "rules.yml"
OPERATOR = ROOT / "deploy" / "kubernetes" / "components" / "monitoring" / "monitoring.yaml"
OF = 'namespace="loans", job="service", instance="one"'
BUCKET, REQUESTS = "http_request_seconds_bucket", "http_requests_total"


def test_the_operator_gets_the_same_rules() -> None:
    _, rule = yaml.safe_load_all(OPERATOR.read_text())
    assert rule["spec"] == yaml.safe_load(RULES.read_text())


def series(slow: float = 0.0, failed: float = 0.0, versions: int = 1, up: int = 1, rate: int = 600) -> dict[str, str]:
    """An hour of a service that answers `rate` requests a minute, a share of them slowly, a share of them not."""
    quick, bad = round(rate * (1 - slow)), round(rate * failed)
    found = {
        f'{BUCKET}{{{OF}, route="/predict", le="0.1"}}': f"0+{quick}x90",
        f'{BUCKET}{{{OF}, route="/predict", le="0.2"}}': f"0+{rate}x90",
        f'{BUCKET}{{{OF}, route="/predict", le="+Inf"}}': f"0+{rate}x90",
        f'http_request_seconds_count{{{OF}, route="/predict"}}': f"0+{rate}x90",
        f'{REQUESTS}{{{OF}, route="/predict", status="200"}}': f"0+{rate - bad}x90",
        f'model_limit{{{OF}, limit="p95_seconds"}}': "0.1x90",
        f'model_limit{{{OF}, limit="error_share"}}': "0.001x90",
        f"up{{{OF}}}": f"{up}x90",
    }
    if bad:
        found[f'{REQUESTS}{{{OF}, route="/predict", status="500"}}'] = f"0+{bad}x90"
    return found | {f'model_info{{{OF}, version="{number}"}}': "1x90" for number in range(versions)}


@pytest.mark.parametrize(
    ("given", "alerts"),
    [
        ({}, set()),
        ({"slow": 0.04}, set()),
        ({"slow": 0.10}, {"PredictionsSlow"}),
        ({"slow": 1.0, "rate": 6}, set()),  # so few that each is a fifth of the p95
        ({"failed": 0.005}, {"PredictionsFail"}),
        ({"versions": 2}, {"SeveralVersions"}),
        ({"up": 0}, {"ServiceDown"}),
    ],
    ids=["quiet", "just within", "slow", "few requests", "errors", "two versions", "down"],
)
def test_when_an_alert_fires(tmp_path: Path, given: dict[str, Any], alerts: set[str]) -> None:
    """Over the limits of the load test, which the service exports itself."""
    if shutil.which("promtool") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs promtool: apt install prometheus")
    names = [
        rule["alert"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    inputs = [{"series": name, "values": values} for name, values in series(**given).items()]
    expected = [{"eval_time": "80m", "alertname": name, "exp_alerts": []} for name in names]
    test = {
        "rule_files": [str(RULES)],
        "tests": [{"interval": "1m", "input_series": inputs, "alert_rule_test": expected}],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert {name for name in names if f"alertname: {name}, " in said} == alerts, said
    assert (done.returncode == 0) == (not alerts), said
