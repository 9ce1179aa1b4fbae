"""Arms that die, never get ready, answer with errors or understand other requests."""

import gzip
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perf.arms.arm import Cpus
from perf.arms.specs import arm
from tests.engine.perf.conftest import HERE, ROOT, SHORT, Gate, copy_standin, gates
from tests.engine.perf.test_gate import Run, ended, survivors
from tests.engine.perf.test_interrupts import gone, measured, requests, until

FAST = {"WEB_CONCURRENCY": "1"}
# Wide, and three rounds: what two of a machine with other things to do say of a limit is too vague even for these.
WIDE = {"MLOPS_PERF__MAX_REGRESSION": "9", "MLOPS_PERF__P95_MS": "false", "MLOPS_PERF__MIN_THROUGHPUT": "false"}


def other(folder: Path, name: str, **files: str) -> str:
    """A copy of the stand-in with other files in its bundle."""
    copy = copy_standin(folder / name)
    for path, text in files.items():
        (copy / "bundle" / path.replace("_json", ".json").replace("_jsonl", ".jsonl")).write_text(text)
    return str(copy)


@pytest.fixture(scope="module", name="runs")
def _runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """Calls of the gate of which none minds what the others do to the machine, three or four at a time."""
    folder = tmp_path_factory.mktemp("deaths")
    plain = str(copy_standin(folder))
    calls = {
        "candidate": (other(folder, "c", deaths="0 0 5"), plain),
        "baseline": (plain, other(folder, "b", deaths="0 0 5")),
        "twice": (other(folder, "t", deaths="0 0 5 0 5"), plain),
        "failing": (other(folder, "f", errors=""), "none"),
        "nothing": (plain, other(folder, "n", errors="")),
        "older": (
            other(folder, "o", contract_json='{"fields": ["Term", "State"], "tolerated": ["Bank"]}'),
            other(
                folder,
                "p",
                contract_json='{"fields": ["Term", "State", "Bank"]}',
                requests_jsonl='{"Term": 1, "State": "CA", "Bank": "B"}\n{"Term": 2, "State": "NY", "Bank": "C"}\n',
            ),
        ),
        "looser": (
            other(
                folder,
                "q",
                contract_json='{"fields": ["Term", "State"], "tolerated": ["State"]}',
            ),
            other(
                folder,
                "r",
                contract_json='{"fields": ["Term", "Bank"], "tolerated": ["Bank"]}',
                requests_jsonl='{"Term": 1, "Bank": "B"}\n',
            ),
        ),
    }
    found: dict[str, Run] = {}
    with gates(folder) as gate:
        names = list(calls)
        for some in (names[:3], names[3:]):
            started = {
                name: gate(*("--candidate", calls[name][0], "--baseline", calls[name][1]), **(FAST | WIDE), output=name)
                for name in some
            }
            found |= {name: ended(process, folder / name) for name, process in started.items()}
    assert survivors(folder) == []
    yield found


@pytest.mark.slow
@pytest.mark.parametrize("role", ["candidate", "baseline"])
def test_one_death_is_forgiven_and_said(runs: dict[str, Run], role: str) -> None:
    """Its round is measured again, and counts once: in the verdict, in rounds.csv and among the requests."""
    run = runs[role]
    report = run.report
    assert (run.code, report.outcome) == (0, "pass"), run.text
    assert [r.number for r in report.rounds] == list(range(1, max(3, len(report.rounds)) + 1))
    assert [note for note in report.notes if "died" in note] == [
        f"The {role} ({getattr(report, role).source}) died in round 2. Round 2 was measured again."
    ]
    assert sum(r.candidate.errors + (r.baseline.errors if r.baseline else 0) for r in report.rounds) == 0
    lines = gzip.decompress((run.out / "samples.csv.gz").read_bytes()).decode().splitlines()
    assert len(lines) - 1 == sum(r.candidate.count + (r.baseline.count if r.baseline else 0) for r in report.rounds)


@pytest.mark.slow
def test_a_second_death_ends_the_run(runs: dict[str, Run]) -> None:
    """With what was measured before, and the last lines of the dead."""
    run = runs["twice"]
    report = run.report
    assert (run.code, report.outcome) == (3, "error"), run.text
    assert "The candidate" in report.headline and "died in round 3" in report.headline
    assert len(report.rounds) == 2
    assert len((run.out / "rounds.csv").read_text().splitlines()) == 5
    assert "Listening at" in report.log
    assert "died in round 2. Round 2 was measured again." in report.notes[0]


@pytest.mark.slow
def test_a_candidate_that_answers_with_errors_alone_fails(runs: dict[str, Run]) -> None:
    """At the usual rate: no rounds that get longer and longer, since it can do nothing."""
    run = runs["failing"]
    assert (run.code, run.report.outcome) == (1, "fail"), run.text
    assert "100 % of the requests failed" in run.report.headline
    assert run.report.rate == float(SHORT["MLOPS_PERF__LOAD__MAX_RATE"])


@pytest.mark.slow
def test_a_baseline_that_answers_with_errors_alone_is_left_out(runs: dict[str, Run]) -> None:
    """There is nothing to compare with, and the verdict says so."""
    run = runs["nothing"]
    assert (run.code, run.report.baseline) == (0, None), run.text
    assert "answers 500 to the candidate's requests, so it does not work" in run.report.notes[0]
    assert "Judged without a baseline." in run.report.notes[0]


@pytest.mark.slow
def test_a_candidate_that_still_takes_the_older_requests_is_compared(runs: dict[str, Run]) -> None:
    """A field that the candidate no longer needs: both get the baseline's own records."""
    run = runs["older"]
    assert (run.code, run.report.outcome) == (0, "pass"), run.text
    assert run.report.baseline is not None
    assert run.report.notes[0].endswith("So both were measured with the baseline's own requests.")
    assert "answers 422" in run.report.notes[0] and "field Bank" in run.report.notes[0]
    assert sum(r.candidate.errors for r in run.report.rounds) == 0


@pytest.mark.slow
def test_arms_that_share_some_fields_are_compared_by_them(runs: dict[str, Run]) -> None:
    """A field that the candidate can do without and the baseline does not know is left out."""
    run = runs["looser"]
    assert (run.code, run.report.outcome) == (0, "pass"), run.text
    assert run.report.baseline is not None
    assert run.report.notes[0].endswith("So both were measured with the fields that both know.")
    assert sum(r.candidate.errors + (r.baseline.errors if r.baseline else 0) for r in run.report.rounds) == 0


@pytest.mark.slow
def test_an_arm_that_never_gets_ready_ends_the_run(standin: Path, tmp_path: Path) -> None:
    """One sentence that says what it answered, and nothing left behind."""
    program = (
        "import sys; from perf.__main__ import main; from perf.arms.arm import Arm; Arm.ready.__defaults__ = (1.0,); "
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", program),
            *("--candidate", str(standin), "--baseline", "none", "--output", str(tmp_path / "out")),
        ],
        cwd=ROOT,
        env=dict(os.environ) | HERE | SHORT | {"MLOPS_FAULT_NEVER_READY": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    run = Run(done.returncode, done.stdout + done.stderr, tmp_path / "out")
    assert (run.code, run.report.outcome, "Traceback" in run.text) == (3, "error", False), run.text
    assert "was not ready after 1 s" in run.report.headline and "never ready" in run.report.headline
    assert survivors(tmp_path) == []


def test_nobody_can_take_the_port_of_an_arm(standin: Path, tmp_path: Path) -> None:
    """It is the arm's from the moment of its choice, so no other service can be measured in its place."""
    started = arm(str(standin), "candidate", dict(os.environ), Cpus(None, None, 1), tmp_path)
    try:
        started.start()
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind(("127.0.0.1", int(started.url.rpartition(":")[2])))
        started.ready()
        assert started.card()["name"] == "stand-in"
    finally:
        started.stop()


@pytest.mark.slow
def test_arms_end_with_a_gate_that_is_killed(gate: Gate, standin: Path, tmp_path: Path) -> None:
    """SIGKILL leaves no time to stop them; what was measured can be read all the same."""
    if sys.platform != "linux":
        pytest.skip("needs Linux, which tells a process that its parent is gone")
    both = ("--candidate", str(standin), "--baseline", str(standin))
    process = gate(*both, **FAST, MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER="[900]")
    until(lambda: measured(tmp_path / "out"))
    assert survivors(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert gone(tmp_path)
    assert not (tmp_path / "out" / "verdict.json").exists()
    assert requests(tmp_path / "out") > 1
