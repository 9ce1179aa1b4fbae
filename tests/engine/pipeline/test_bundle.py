"""pipeline.bundle."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import bundle as bundles
from pipeline.bundle import Column, Contract, Field
from pipeline.schema import Data, Project, Quality, Settings, Training
from tests.engine.conftest import environment

CONTRACT = Contract(
    bundles.CONTRACT_VERSION, "regression", [Field("a", "number", False)], ["y"], [Column("a", "number")], []
)


def files(model: bytes) -> dict[str, bytes]:
    return {"model.onnx": model, "contract.json": bundles.encode_contract(CONTRACT), "requests.jsonl": b'{"a":1}\n'}


def card(contents: dict[str, bytes]) -> bundles.Card:
    hashes = {name: bundles.sha256(data) for name, data in contents.items()}
    return bundles.Card(
        name="m", version="1", run_id="r", git_sha="", created="2026-01-01T00:00:00+00:00", task="regression",
        runtime="onnx", reason="", metrics={"r2": 0.5}, data={}, parity={}, libraries={}, files=hashes,
        bundle_sha256=bundles.digest(hashes), code_sha256="",
    )  # fmt: skip


def write(folder: Path, model: bytes) -> None:
    bundles.write(folder, files(model), card(files(model)))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Card and contract come back as they were, and nothing else is left beside the bundle."""
    write(tmp_path / "bundle", b"one")
    write(tmp_path / "bundle", b"two")
    found = bundles.read(tmp_path / "bundle")
    assert found.card == card(files(b"two"))
    assert found.contract == CONTRACT
    assert found.model.read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("name", ["model.onnx", "contract.json", "requests.jsonl"])
@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_damage_is_found(tmp_path: Path, name: str, damage: str) -> None:
    """A missing or altered file never reaches a runtime: the error names it and what to do."""
    write(tmp_path / "bundle", b"model")
    path = tmp_path / "bundle" / name
    path.unlink() if damage == "removed" else path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(bundles.BundleError, match=f"{name}.*make train"):
        bundles.read(tmp_path / "bundle")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "m"}'])
def test_a_broken_card_is_found(tmp_path: Path, text: str) -> None:
    """Not JSON, or not a card: one sentence."""
    write(tmp_path / "bundle", b"model")
    (tmp_path / "bundle" / "card.json").write_text(text)
    with pytest.raises(bundles.BundleError, match=r"card\.json"):
        bundles.read(tmp_path / "bundle")


def test_a_contract_of_another_version_is_refused(tmp_path: Path) -> None:
    """An image never guesses what a newer contract means."""
    contents = files(b"model") | {
        "contract.json": msgspec.json.encode(msgspec.structs.replace(CONTRACT, version=bundles.CONTRACT_VERSION + 1))
    }
    bundles.write(tmp_path / "bundle", contents, card(contents))
    with pytest.raises(bundles.BundleError, match="contract version"):
        bundles.read(tmp_path / "bundle")


def test_no_bundle_says_what_to_do(tmp_path: Path) -> None:
    """The first thing a new user may see."""
    with pytest.raises(bundles.BundleError, match="make train"):
        bundles.read(tmp_path / "bundle")


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_the_digest_ignores_order(hashes: dict[str, str]) -> None:
    """Equal files give an equal digest, in whatever order they were written."""
    assert bundles.digest(hashes) == bundles.digest(dict(reversed(hashes.items())))


def test_killed_at_any_moment_the_bundle_is_whole(tmp_path: Path) -> None:
    """SIGKILL in the middle of one replacement after another leaves the old bundle or the new one, never a mixture."""
    folder = tmp_path / "bundle"
    write(folder, b"first" * 100_000)
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from tests.pipeline.test_bundle import write\n"
        "print('go', flush=True)\n"
        "for n in range(10**6): write(Path(sys.argv[2]), b'%09d' % n * 100_000)"
    )
    root = Path(__file__).parents[3]
    for delay in (0.0, 0.003, 0.01, 0.02, 0.03, 0.05):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, str(root), str(folder)], stdout=subprocess.PIPE, env=environment(root)
        )
        with writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(delay)
            os.kill(writer.pid, signal.SIGKILL)
        bundles.read(folder)
    write(folder, b"last")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> Path:
    """The least project of which the inputs have digests; a package of src/model is a link."""
    for name in ("src/model/data.py", "serving/app.py", "training/fit.py", "data/a.csv", "common/text.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    (tmp_path / "src" / "model" / "common").symlink_to("../../common")
    return tmp_path


def inputs(root: Path, trusted: tuple[str, ...] = ()) -> tuple[str, str]:
    """Of the model and of the service."""
    data = Data(path="data/a.csv", task="regression", target="y", numeric=["x"])
    quality = Quality(metric="r2", floor=0.0)
    settings = Settings(Project("loans"), data, quality, training=Training(trusted=list(trusted)))
    data_sha256 = bundles.file_sha256(root / "data/a.csv")
    return bundles.model_inputs(root, settings, data_sha256), bundles.service_inputs(root, settings, "0" * 64, "onnx")


@pytest.mark.parametrize(
    ("name", "model", "service"),
    [
        ("common/text.py", True, True),
        ("src/model/words.txt", True, True),
        ("serving/app.py", False, True),
        ("training/fit.py", True, False),
        (".dockerignore", False, True),
        ("README.md", False, False),
        ("src/.DS_Store", False, False),
        ("src/model/.ipynb_checkpoints/data.py", False, False),
        ("src/model/__pycache__/data.pyc", False, False),
    ],
)
def test_what_something_is_made_of_has_a_digest(made: Path, name: str, model: bool, service: bool) -> None:
    """Links are followed; what tools leave behind counts for nothing."""
    before = inputs(made)
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_text("2")
    assert [one != other for one, other in zip(before, inputs(made), strict=True)] == [model, service]


def test_the_service_trusts_what_training_did(made: Path) -> None:
    """[training] trusted decides what it loads."""
    assert inputs(made)[1] != inputs(made, ("geopandas",))[1]
