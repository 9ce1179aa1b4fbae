"""What promotion keeps of a load test in MLflow, on SQLite, and what is made of it over many versions."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import mlflow
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from mlflow import MlflowClient
from msgspec.structs import replace

from perf.files import write_verdict
from perf.verdict import Report
from pipeline.settings import load_settings
from release import history, promote
from release.history import Promoted, chain, draw, headline, path, read
from release.promote import METRICS, tags_of
from tests.engine.conftest import PROJECT
from tests.engine.perf.examples import report_of, rounds_of
from training import registry

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow runs in this process, with warnings of its own

NAME = load_settings(PROJECT).project.name
HOSTILE = '<script>alert(1)</script><img src=x onerror="y"> & $x^2$ \u202e'


@pytest.fixture(name="client")
def _client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """An empty store in a folder of its own, in which commands run."""
    (tmp_path / "pipeline.toml").write_text((PROJECT / "pipeline.toml").read_text())
    monkeypatch.chdir(tmp_path)
    return registry.connect(NAME)


@pytest.fixture(name="register")
def _register(client: MlflowClient) -> Callable[..., str]:
    """Registers a version of nothing, with tags; returns its number."""

    def register(**tags: str) -> str:
        with registry.run(NAME, "") as run_id:
            return str(registry.create_version(client, NAME, "file:///nothing", run_id, tags).version)

    return register


def versions(changes: Sequence[float]) -> list[Promoted]:
    """A history in which each version was measured against the one before."""
    first = Promoted("1", "2026-01-01", 3.0, "A CPU", metric=0.9)
    later = (
        first._replace(version=str(number), change=change, baseline=str(number - 1))
        for number, change in enumerate(changes, 2)
    )
    return [first, *later]


def verdict_on(version: str, baseline: str = "") -> Report:
    """A pass: p95 is 3.06 ms, and 2 % slower than the baseline where there is one."""
    rounds = [
        replace(each, candidate=replace(each.candidate, cpu_ms=0.9, memory_mb=180.0))
        for each in rounds_of([3.06, 3.07, 3.05, 3.06, 3.06], [3.0] * 5 if baseline else None)
    ]
    report = report_of(rounds)
    against = replace(report.baseline, name=NAME, version=baseline) if report.baseline else None
    return replace(report, candidate=replace(report.candidate, name=NAME, version=version), baseline=against)


def promoted(client: MlflowClient, verdict: Report) -> tuple[dict[str, str], dict[str, float]]:
    """Tags of the version and metrics of its run, after the candidate was promoted on a verdict."""
    version = verdict.candidate.version
    client.set_registered_model_alias(NAME, registry.CANDIDATE, version)
    write_verdict(Path("verdict.json"), verdict)
    assert promote.main(["--verdict", "verdict.json"]) == 0
    found = client.get_model_version(NAME, version)
    return dict(found.tags), dict(client.get_run(found.run_id).data.metrics)


def test_promotion_keeps_what_was_measured(client: MlflowClient, register: Callable[..., str]) -> None:
    """As metrics of the run and tags of the version; without a baseline there is no change, and nothing made up."""
    tags, metrics = promoted(client, verdict_on(register()))
    assert set(metrics) == {*METRICS.values(), "perf.workers"}
    assert metrics["perf.workers"] == 1
    assert metrics["perf.p95_ms"] == pytest.approx(3.06, rel=1e-3)
    assert metrics["perf.p95_due_ms"] == pytest.approx(3.06 * 1.1, rel=1e-3)
    assert (metrics["perf.error_rate"], metrics["perf.throughput"]) == (0.0, 100.0)
    assert metrics["perf.ready_s"] == pytest.approx(0.4)
    assert (metrics["perf.cpu_ms"], metrics["perf.memory_mb"]) == (pytest.approx(0.9), pytest.approx(180.0))
    assert (tags["p95_ms"], tags["runner_cpu"]) == ("3.060", "A CPU")
    assert not [name for name in tags if name.startswith(("p95_change", "p95_baseline"))]

    tags, metrics = promoted(client, verdict_on(register(), baseline="1"))
    assert metrics["perf.p95_change"] == pytest.approx(0.02, abs=1e-3)
    assert float(tags["p95_change_low"]) < float(tags["p95_change"]) < float(tags["p95_change_high"])
    assert float(tags["p95_change"]) == pytest.approx(0.02, abs=1e-3)
    assert tags["p95_baseline"] == "1"


def test_a_version_measured_against_itself_keeps_its_change(client: MlflowClient, register: Callable[..., str]) -> None:
    """A champion that is judged and promoted once more has changed nothing, and its first change still holds."""
    client.set_registered_model_alias(NAME, registry.CHAMPION, register())
    tags, _ = promoted(client, verdict_on(register(), baseline="1"))
    again, metrics = promoted(client, verdict_on("2", baseline="2"))
    changes = [name for name in tags if name.startswith(("p95_change", "p95_baseline"))]
    assert len(changes) == 4
    assert [again[name] for name in changes] == [tags[name] for name in changes]
    assert metrics["perf.p95_change"] == pytest.approx(0.02, abs=1e-3)


def test_a_version_against_another_model_has_no_baseline_here() -> None:
    """Version 1 of a model of another name is not version 1 of this one."""
    verdict = verdict_on("2", baseline="1")
    assert verdict.baseline is not None
    tags = tags_of(replace(verdict, baseline=replace(verdict.baseline, name="another")))
    assert "p95_change" in tags
    assert "p95_baseline" not in tags


def test_every_metric_is_a_row_of_the_report() -> None:
    """A row that is renamed would vanish from MLflow without a word."""
    assert set(METRICS) <= {row.key for row in verdict_on("2", "1").criteria}


@given(st.lists(st.floats(-0.5, 1.0), min_size=1, max_size=30))
def test_the_chain_is_the_product_of_its_changes(changes: list[float]) -> None:
    """Each level is that of the version before, times one plus the change, from 1 on."""
    past = versions(changes)
    links = chain(past)
    assert [level for _, level in links.values()] == pytest.approx(np.cumprod([1, *(1 + each for each in changes)]))
    assert path(links, past[-1].version) == [each.version for each in past]


def test_versions_come_in_the_order_of_promotion(client: MlflowClient, register: Callable[..., str]) -> None:
    """Which may not be that of their numbers; what was never promoted is not there, and a broken tag is none."""
    register(promoted_at="2026-02-01", p95_ms="3.5", p95_change="nan")
    register(p95_ms="9.9")
    register(promoted_at="2026-01-01", p95_ms="-1", p95_change="-0.1", p95_baseline="1", rolled_back="to version 1")
    client.log_metric(client.get_model_version(NAME, "3").run_id, "roc_auc", 0.9)
    client.delete_run(client.get_model_version(NAME, "1").run_id)
    past = read(client, NAME, "roc_auc")
    assert [(each.version, each.p95, each.change, each.metric) for each in past] == [
        ("3", None, -0.1, 0.9),
        ("1", 3.5, None, None),
    ]
    assert [each.rolled_back for each in past] == [True, False]
    assert list(chain(past).values()) == [("", 1.0), ("", 1.0)]  # the baseline of version 3 came later


def test_a_rollback_is_no_break_and_a_missing_baseline_is() -> None:
    """After a rollback the chain goes on from the version that was gone back to; it starts anew without a baseline."""
    past = versions([0.1, 0.2, 0.3, 0.4])
    past[2] = past[2]._replace(rolled_back=True)
    past[3] = past[3]._replace(baseline="2")
    links = chain(past)
    assert path(links, "5") == ["1", "2", "4", "5"]
    assert links["5"] == ("4", pytest.approx(1.1 * 1.3 * 1.4))
    assert path(links, "2") == ["1", "2"]  # rolled back to

    past[3] = past[3]._replace(baseline="")
    past[4] = past[4]._replace(change=None)
    links = chain(past)
    assert [links["4"], links["5"]] == [("", 1.0), ("", 1.0)]
    assert "was not compared" in headline(links, path(links, "5"))


def test_milliseconds_of_two_machines_are_not_joined() -> None:
    """A line between them would show a change that nobody measured; one that was rolled back is hollow."""
    past = versions([0.01] * 5)
    past = [each._replace(machine="A CPU" if number < 3 else "Another") for number, each in enumerate(past)]
    past[1] = past[1]._replace(rolled_back=True, p95=None)
    past[2] = past[2]._replace(baseline="1")
    levels, latency, quality = draw(past, path(chain(past), "6"), "mae", False).axes

    def drawn(axes: Axes) -> list[list[float]]:
        return [list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]

    assert drawn(latency) == [[0, 2], [3, 4], [4, 5]]
    assert drawn(levels)[1:] == [[0, 1], [0, 2], [2, 3], [3, 4], [4, 5]]  # after the line of 100 %
    assert [line.get_markerfacecolor() for line in levels.lines if line.get_marker() == "o"].count("white") == 1
    assert "less is better" in quality.get_title("left")


@pytest.mark.parametrize("count", [1, 2, 40])
def test_the_command_draws_what_the_store_holds(
    client: MlflowClient, register: Callable[..., str], capsys: pytest.CaptureFixture[str], count: int
) -> None:
    """A table, a sentence on the way to the champion, and a picture; what stands in tags is text, never markup."""
    for number in range(1, count + 1):
        measured = {"p95_change": "0.3" if number == 7 else "0.001", "p95_baseline": str(number - 1)}
        register(
            promoted_at=f"2026-03-{number:02}T10:00:00+00:00",
            runner_cpu=f"{number % 7} {HOSTILE}",
            rolled_back=HOSTILE if number == 40 else "",
            p95_ms="3.0",
            **(measured if number > 1 else {"p95_baseline": "[/]"}),
        )
    client.set_registered_model_alias(NAME, registry.CHAMPION, str(min(count, 39)))
    assert history.main() == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "Written: reports/history.png"
    assert printed[-2].startswith(
        {
            1: "p95 of version 1 was not compared",
            2: "p95 +0.1 % from version 1 to version 2, over 1 promotion.",
            40: "p95 +35 % from version 1 to version 39, over 38 promotions.",
        }[count]
    )
    assert sum("2026-03-" in line for line in printed) == min(count, 20)
    assert Path("reports/history.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_that_was_never_promoted_has_no_history(
    client: MlflowClient, register: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence says what to do."""
    register()
    assert history.main() == 3
    assert re.fullmatch(r"Cannot draw a history: .* was promoted yet; run `make pipeline`\n", capsys.readouterr().err)


def test_a_store_that_is_none_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, without a traceback."""
    (tmp_path / "pipeline.toml").write_text((PROJECT / "pipeline.toml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://nowhere")
    assert history.main() == 3
    assert re.fullmatch(r"Cannot draw a history: .+\n", capsys.readouterr().err)
    mlflow.set_tracking_uri(None)
