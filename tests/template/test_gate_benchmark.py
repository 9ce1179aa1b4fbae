"""The gate's calibration: what it makes of rounds, and that what is printed is what was recorded."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import mannwhitneyu

from benchmarks.gate import recorded, verdicts
from benchmarks.gate.document import summary, text
from benchmarks.gate.rates import ceilings, judged
from benchmarks.gate.recorded import ARMS, EDGES, Recorded
from benchmarks.gate.run import COMMAND, README
from benchmarks.gate.scenarios import ROOT
from benchmarks.sections import replaced
from perf.verdict import Round
from tests.engine.perf.examples import LIMITS, rounds_of


def some(ratio: float, count: int, seed: int = 1) -> list[Recorded]:
    """Rounds of 200 requests an arm, a candidate slower by a factor, 2 % of noise in p95."""
    dice = np.random.default_rng(seed)
    p95 = 3 * ratio * np.exp(dice.normal(0, 0.02, count))
    found = []
    for n, each in enumerate(rounds_of(list(p95), [3.0] * count)):
        latencies = [np.exp(dice.normal(0, 0.3, 200)) * (ratio if arm == "candidate" else 1.0) for arm in ARMS]
        requests = np.array([np.histogram(of, EDGES)[0] for of in latencies], np.uint16)
        found.append(Recorded("quiet", "same", 1e9 + 3.0 * n, each, requests))
    return found


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 60), st.sampled_from([1.0, 1.05, 1.3]))
def test_runs_share_no_round(count: int, ratio: float) -> None:
    """Each begins where the last one ended, at a look, and an unfinished one is no verdict."""
    runs = list(verdicts.gate(some(ratio, count), LIMITS, [5, 8, 12], 3.0))
    assert all(run.rounds in (5, 8, 12) for run in runs)
    assert count - 12 < sum(run.rounds for run in runs) <= count
    assert {run.outcome for run in runs} <= {"pass" if ratio == 1.0 else "fail", "inconclusive", "pass"}


def test_the_rank_test_is_scipys() -> None:
    """On histograms, ties and all, it decides as it would on the binned requests."""
    for seed in range(20):
        now = some(1.0 + seed / 200, 4, seed)
        x, y = (np.repeat(np.arange(len(EDGES) - 1), verdicts.pooled(now, arm)) for arm in range(2))
        p = mannwhitneyu(x, y, alternative="greater", use_continuity=False, method="asymptotic").pvalue
        assert verdicts.mann_whitney(now, [], 0.0) == (math.inf if p < verdicts.LEVEL else -math.inf)


def test_locusts_p95_is_locusts() -> None:
    """Rounded as Locust rounds response times before it counts them. (In a child, as Locust patches the library.)"""
    times = [0.1, 0.5, 1.4, 1.6, 99.4, 99.6, 104.0, 106.0, 994.0, 996.0, 1049.0, 1051.0, 4321.0]
    counted = (
        "import json, sys; from locust.stats import StatsEntry\n"
        "for time in json.loads(sys.argv[1]):\n"
        "    entry = StatsEntry(None, '/', 'POST'); entry._log_response_time(time); print(*entry.response_times)"
    )
    child = [sys.executable, "-c", counted, json.dumps(times)]
    printed = subprocess.run(child, capture_output=True, text=True, check=True).stdout.split()
    assert [float(each) for each in printed] == [verdicts.as_locust_rounds(time) for time in times]


def keep(folder: Path, at: int, p95: float, steal: float = 0.0, dropped: str = "") -> Round:
    """A round as `record` leaves it, at so many seconds since the epoch."""
    (original,) = rounds_of([p95], [2.987654])
    original = replace(original, steal=steal, dropped=dropped)
    target = folder / "quiet" / "same" / f"{at}000000000.npz"
    target.parent.mkdir(parents=True, exist_ok=True)
    requests = {f"{arm}_latency": np.array([0.5, 1.0, 1.01, 70.0]) for arm in ARMS}
    requests |= {f"{arm}_ok": np.array([True, True, True, False]) for arm in ARMS}
    np.savez(target, round=np.frombuffer(msgspec.json.encode(original), np.uint8), **requests)
    return original


def test_a_round_survives_being_made_compact(tmp_path: Path) -> None:
    """Counts exactly, figures to four digits, requests as a histogram."""
    original = keep(tmp_path, 1_700_000_000, 3.456789)
    recorded.save(tmp_path, tmp_path / "all.npz")
    (found,), machine = recorded.load(tmp_path / "all.npz")
    assert (found.condition, found.scenario, found.at) == ("quiet", "same", 1.7e9)
    assert found.round.candidate.count == original.candidate.count
    assert found.round.candidate.p95 == pytest.approx(3.456789, rel=2e-4)
    assert found.round.candidate.cpu_ms is None
    assert found.requests.sum() == 6
    assert "CPUs" in machine


def test_a_recording_is_added_to_the_one_before(tmp_path: Path) -> None:
    """In order of time, and what is there already stays as it is; rounds of another machine are refused."""
    later, earlier, path = tmp_path / "later", tmp_path / "earlier", tmp_path / "all.npz"
    keep(later, 1_700_000_100, 3.1)
    recorded.save(later, path)
    keep(earlier, 1_700_000_000, 3.0)
    keep(earlier, 1_700_000_100, 9.9)
    recorded.save(earlier, path)
    found, _ = recorded.load(path)
    assert [each.round.candidate.p95 for each in found] == pytest.approx([3.0, 3.1], rel=1e-3)
    with np.load(path) as columns:
        np.savez(path, **(dict(columns) | {"machine": np.array("an abacus")}))
    with pytest.raises(SystemExit, match=r"it holds those of another machine, an abacus. Delete it to begin anew."):
        recorded.save(earlier, path)


def test_a_figure_that_was_not_recorded_yet_is_unknown(tmp_path: Path) -> None:
    """Rounds outlive the struct that they came from, and newer ones are added to them."""
    path = tmp_path / "all.npz"
    keep(tmp_path / "old", 1_700_000_000, 3.0)
    recorded.save(tmp_path / "old", path)
    with np.load(path) as columns:
        old = dict(columns)
    at = list(old["fields"]).index("p50")
    old["fields"], old["figures"] = np.delete(old["fields"], at), np.delete(old["figures"], at, axis=-1)
    recorded.pack(path, old)
    keep(tmp_path / "new", 1_700_000_100, 4.0)
    recorded.save(tmp_path / "new", path)
    found, _ = recorded.load(path)
    assert [each.round.candidate.p95 for each in found] == pytest.approx([3.0, 4.0], rel=1e-3)
    assert [each.round.candidate.p50 is None for each in found] == [True, False]


def test_whether_a_round_counts_is_said_anew(tmp_path: Path) -> None:
    """A guard that has changed since the recording applies to all of it, as it will to what is measured next."""
    keep(tmp_path, 1_700_000_000, 3.0, steal=0.06, dropped="the host gave 6% of the CPU to others")
    keep(tmp_path, 1_700_000_003, 3.0, steal=0.75)
    recorded.save(tmp_path, tmp_path / "all.npz")
    found, _ = recorded.load(tmp_path / "all.npz")
    assert [each.round.dropped for each in found] == ["", "the host gave 75% of the CPU to others"]


def test_a_busy_host_is_not_quiet(tmp_path: Path) -> None:
    """By the minute, all rounds of it: those of one verdict stay together, and no round is chosen for what it found."""
    minute = 1_700_000_040
    for n, steal in enumerate([0.0, 0.0, 0.3, 0.2, 0.2, 0.0]):
        keep(tmp_path, minute + 20 * n, 3.0, steal=steal)
    recorded.save(tmp_path, tmp_path / "all.npz")
    found, _ = recorded.load(tmp_path / "all.npz")
    assert [each.condition for each in found] == ["quiet"] * 3 + ["stolen CPU"] * 3


HOST = """
from benchmarks.gate.disturb import Disturbance
with Disturbance() as neighbour:
    print(neighbour.pid, flush=True)
    input()
"""


def burning(group: int) -> bool:
    """Whether anything of a process group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot bind a process to its parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_noisy_neighbour_goes_with_who_called_it(number: signal.Signals) -> None:
    """However that ends: it would disturb what is recorded as quiet after it."""
    host = subprocess.Popen([sys.executable, "-c", HOST], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert host.stdout and host.stdin
    group = int(host.stdout.readline())
    time.sleep(2)
    assert burning(group)
    host.send_signal(number)
    host.communicate()
    until = time.monotonic() + 5
    while burning(group) and time.monotonic() < until:
        time.sleep(0.05)
    assert not burning(group)


@pytest.mark.slow
def test_what_is_written_is_what_was_recorded() -> None:
    """Tables and sentence come from the rounds that lie here, judged by the rule as it is."""
    rounds, machine = recorded.load()
    cases = judged(rounds)
    again = "`make bench-gate` writes them anew"
    assert (ROOT / "benchmarks" / "gate.md").read_text(encoding="utf-8") == text(
        rounds, machine, cases, ceilings(rounds)
    ), again
    readme = README.read_text(encoding="utf-8")
    assert readme == replaced(readme, COMMAND, summary(cases)), again
