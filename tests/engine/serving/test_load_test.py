"""serving.protocols.about: the page says what the load test said of this very model, and of no other."""

from pathlib import Path

import msgspec
import pytest

from pipeline import bundle as bundles
from pipeline.bundle import Card
from serving.app import create_app
from serving.protocols.about import SHOWN
from serving.protocols.about import load_test as sentence
from tests.engine.perf.examples import report_of, rounds_of

REPORT = report_of(rounds_of([1.0] * 6, [1.0] * 6))


@pytest.fixture(name="card")
def _card(trained: Path) -> Card:
    """Of the model that the verdict is on."""
    tested = REPORT.candidate
    card = bundles.read(trained / "bundle").card
    return msgspec.structs.replace(card, bundle_sha256=tested.bundle_sha256, code_sha256=tested.code_sha256)


def write(folder: Path, **changes: object) -> None:
    candidate = msgspec.structs.replace(REPORT.candidate, **changes)
    verdict = msgspec.structs.replace(REPORT, candidate=candidate)
    (folder / "verdict.json").write_bytes(msgspec.json.encode(verdict))


def test_the_verdict_on_this_model_is_told(card: Card, tmp_path: Path) -> None:
    """With its day; nothing of a verdict on another model, on other code, or with a fault, and nothing of a wreck."""
    assert sentence(card, {}, tmp_path) == ""
    write(tmp_path)
    told = f"{REPORT.outcome}: {REPORT.headline} (load test of {REPORT.created[:10]})"
    assert sentence(card, {}, tmp_path) == told
    for changes in ({"bundle_sha256": "0"}, {"code_sha256": "0"}, {"faults": ["MLOPS_FAULT_BURN_MS=1"]}):
        write(tmp_path, **changes)
        assert sentence(card, {}, tmp_path) == ""
    for wreck in (b"", b"[]", b'{"outcome": 1}', b"\xff"):
        (tmp_path / "verdict.json").write_bytes(wreck)
        assert sentence(card, {}, tmp_path) == ""


def test_the_environment_has_the_last_word(card: Card, tmp_path: Path) -> None:
    """In an image there are no reports; what is too long for a page is cut."""
    write(tmp_path)
    assert sentence(card, {"RELEASE": " p95 1.2 ms "}, tmp_path) == "p95 1.2 ms"
    assert sentence(card, {"RELEASE": "x" * 10_000}, tmp_path) == "x" * SHOWN


def test_the_description_has_it(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page reads it there."""
    described = {}
    for said in ("", "pass: p95 1.2 ms"):
        monkeypatch.setenv("RELEASE", said)
        answer = create_app(trained / "bundle").test_client().get("/openapi.json")
        described[said] = msgspec.json.decode(answer.data)["info"].get("x-release")
    assert described == {"": None, "pass: p95 1.2 ms": "pass: p95 1.2 ms"}
