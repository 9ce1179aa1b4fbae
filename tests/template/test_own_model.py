"""docs/your-own-model.md, followed word for word in new projects, and docs/examples, which are what comes of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import Bake, Run, commit_all

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your-own-model.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "docs" / "examples"
BLOCK = re.compile(r"(?:^`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)
OF = {  # what comes of a section
    "From a file to a verdict": "dates",
    "Texts": "words",
    "A target on a log scale": "amounts",
    "LightGBM, XGBoost, CatBoost": "lightgbm",
    "A transformer of your own": "step",
}


SHORT = {
    "MLOPS_PERF__PROFILES__QUICK__DECIDE_AFTER": "[2]",
    "MLOPS_PERF__PROFILES__QUICK__ROUND_SECONDS": "0.5",
    "MLOPS_PERF__MIN_REQUESTS": "10",
}


class Block(NamedTuple):
    path: str | None
    kind: str
    text: str


def sections() -> dict[str, list[Block]]:
    """The blocks of each section that has any."""
    parts = re.split(r"^## (.*)\n", PAGE, flags=re.MULTILINE)[1:]
    every = {
        title: [Block(*each.groups()) for each in BLOCK.finditer(text)]
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {title: blocks for title, blocks in every.items() if blocks}


def with_settings(settings: str, text: str) -> str:
    """pipeline.toml with [data] and [quality] of a text."""
    return re.sub(r"^\[data\].*?(?=^\[perf\])", lambda _: f"{text}\n", settings, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(name="fresh")
def _fresh(bake: Bake, run: Run) -> Iterator[Path]:
    project = bake().project
    commit_all(project, run)
    yield project


def test_each_section_has_an_example() -> None:
    """And each example its section."""
    assert sections().keys() == OF.keys()
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == set(OF.values())


@pytest.mark.slow
@pytest.mark.parametrize("title", OF)
def test_the_page_can_be_followed(fresh: Path, run: Run, make: list[str], title: str) -> None:
    """Files and commands of a section, in their order, in a new project. What comes of it is the example.

    The libraries are there already, which `make add` is told by tests of its own. The load test is as short as can be.
    """
    for path, kind, text in sections()[title]:
        if path:
            (fresh / path).write_text(text, encoding="utf-8")
        elif kind == "toml":
            settings = fresh / "pipeline.toml"
            settings.write_text(with_settings(settings.read_text(encoding="utf-8"), text), encoding="utf-8")
        else:
            for line in text.splitlines():
                *variables, command = re.split(r" (?=make )", line)
                more = dict(variable.split("=") for variable in variables) | {"DOCKER": "no"} | SHORT
                if not command.startswith("make add "):
                    run(*make, *command.split()[1:], cwd=fresh, PYTHONPATH=f"{fresh}:{fresh / 'src'}", **more)
    assert json.loads((fresh / "bundle" / "card.json").read_bytes())["runtime"] == "onnx"
    example = EXAMPLES / OF[title]
    for path in (example / "src").rglob("*.py"):
        assert (fresh / path.relative_to(example)).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
    settings = (fresh / "pipeline.toml").read_text(encoding="utf-8")
    own = (example / "pipeline.toml").read_text(encoding="utf-8")
    assert re.sub(r"floor = .*", "", own) in re.sub(r"floor = .*", "", settings)
