"""When a deployment counts as verified: shares that chance does not explain, and predictions that are the same."""

import json
import subprocess
import sys
from typing import Any

from tests.engine.conftest import ROOT, environment


def called(function: str, *calls: tuple[Any, ...]) -> list[Any]:
    """What a function of release.deploy.verify returns: in a process of its own, because it patches the sockets."""
    code = "import json, sys\nfrom release.deploy import verify\n"
    code += f"print(json.dumps([verify.{function}(*call) for call in json.load(sys.stdin)]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(calls),
        env=environment(ROOT),
        capture_output=True,
        text=True,
        check=True,
    )
    returned: list[Any] = json.loads(done.stdout)
    return returned


def test_a_share_is_too_high_where_chance_does_not_explain_it() -> None:
    """More requests have to tell where it might; after the last of them, the share itself decides."""
    cases: list[tuple[tuple[int, int, float, bool], bool | None]] = [
        ((0, 300, 0.001, False), False),
        ((1, 300, 0.001, False), None),  # a limit of 0.1 % allows for it in one of four runs
        ((1, 1200, 0.001, True), False),
        ((3, 300, 0.001, False), True),
        ((2, 1200, 0.001, True), True),
        ((15, 300, 0.05, False), False),
        ((20, 300, 0.05, False), None),
        ((30, 300, 0.05, False), True),
        ((1, 300, 0.0, False), True),
    ]
    assert called("too_many", *(given for given, _ in cases)) == [expected for _, expected in cases]


def test_predictions_are_the_same_but_for_the_last_digits() -> None:
    one = {"label": "a", "probabilities": {"a": 0.75, "b": 0.25}}
    digits = {"label": "a", "probabilities": {"a": 0.7500000001, "b": 0.25}}
    same = [(one, digits), ({"value": 1e9}, {"value": 1e9 + 10})]
    other = [(one, one | {"label": "b"}), (one, one | {"probabilities": {"a": 0.7501, "b": 0.2499}})]
    other += [({"value": 1}, {"value": None}), (one, {"value": 1}), (one, "status 500")]  # type: ignore[list-item]
    assert called("alike", *same, *other) == [True] * len(same) + [False] * len(other)
