"""training.model_card: MODEL_CARD.md in the bundle, MLflow's description, and what a promotion adds to it."""

from pathlib import Path

from mlflow import MlflowClient

from pipeline import bundle as bundles
from pipeline.settings import load_settings
from tests.engine.conftest import PROJECT
from training import model_card

SETTINGS = load_settings(PROJECT, {})


def test_the_card_says_what_a_stranger_asks(trained: Path) -> None:
    """Data and its licence, quality with intervals, what it is sent, limits, where it comes from."""
    text = (trained / "bundle" / bundles.MODEL_CARD).read_text(encoding="utf-8")
    card = bundles.read(trained / "bundle").card
    assert text.startswith(f"# {card.name}, version {card.version}\n")
    for section in ("Data", "Quality", "What it is sent", "Limits", "Where it comes from"):
        assert f"\n## {section}\n" in text
    for said in (SETTINGS.data.path, SETTINGS.data.target, "licence", card.bundle_sha256, "interval", card.run_id):
        assert said in text
    assert bundles.MODEL_CARD not in card.files  # it has dates in it, and the bundle's hash is of the model


def test_mlflow_describes_the_version_by_it(trained: Path) -> None:
    """As much of it as the tables of its database hold."""
    client = MlflowClient(f"sqlite:///{trained / 'mlflow.db'}")
    version = client.get_model_version_by_alias(SETTINGS.project.name, "candidate")
    assert version.description.startswith(f"# {SETTINGS.project.name}, version 1")
    assert len(version.description) <= model_card.LONGEST


def test_a_long_card_loses_its_longest_sections() -> None:
    """The title and the short ones stay."""
    text = "# Title\n\n## Short\n\nyes\n\n## Long\n\n" + "x" * 6_000
    assert model_card.description(text) == "# Title\n\n## Short\n\nyes"


def test_a_promotion_adds_who_and_when_once() -> None:
    """And the latency; a second one, as after a rollback, takes the place of the first."""
    tags = {"promoted_at": "2026-01-02", "promoted_by": "ada", "p95_ms": "3.1", "runner_cpu": "A CPU"}
    first = model_card.promoted("# Title\n\n## Data\n\nrows", tags)
    assert first.startswith(
        "# Title\n\n## Data\n\nrows\n\n## In production\n\n- promoted 2026-01-02 by ada\n- p95 3.1 ms"
    )
    again = model_card.promoted(first, tags | {"promoted_by": "bob"})
    assert again.count("## In production") == 1
    assert "by bob" in again
    assert len(model_card.promoted("x" * 6_000, tags)) <= model_card.LONGEST
