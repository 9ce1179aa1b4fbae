"""What promotion keeps of a load test in MLflow, on SQLite, and what is made of it over many versions."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import mlflow
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from msgspec.structs import replace

from perf.report.markdown import Report, write_verdict
from pipeline.settings import load_settings
from release import chain, history, history_page, promote, trend
from release import load_test_tags as figures
from release.chain import Promoted
from release.shifts import FEWEST, Shift, in_changes, in_levels, noise
from tests.engine.conftest import ROOT
from tests.engine.perf.examples import report_of, rounds_of
from training import registry

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow runs in this process, with warnings of its own

NAME = load_settings(ROOT).project.name
HOSTILE = '<script>alert(1)</script><img src=x onerror="y"> & $x^2$ \u202e'
NOISE = 0.02


@pytest.fixture(name="client")
def _client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """An empty store in a folder of its own, in which commands run."""
    (tmp_path / "pipeline.toml").write_text((ROOT / "pipeline.toml").read_text())
    monkeypatch.chdir(tmp_path)
    return registry.connect(NAME)


@pytest.fixture(name="register")
def _register(client: MlflowClient) -> Callable[..., str]:
    """Registers a version of nothing, with tags; returns its number."""

    def register(**tags: str) -> str:
        with registry.run(NAME, "") as run_id:
            return str(registry.create_version(client, NAME, "file:///nothing", run_id, tags).version)

    return register


def versions(changes: Sequence[float], **more: object) -> list[Promoted]:
    """A history in which each version was measured against the one before. `changes`: logs."""
    found = [Promoted("1", "2026-01-01T00:00:00+00:00", p95=3.0, machine="A CPU")]
    for number, change in enumerate(changes, 2):
        at = f"2026-{1 + number // 28:02}-{1 + number % 28:02}T00:00:00+00:00"
        measured = {"change": math.expm1(change), "error": NOISE, "baseline": str(number - 1), "p95": 3.0}
        found.append(Promoted(str(number), at, machine="A CPU", **{**measured, **more}))  # type: ignore[arg-type]
    return found


def noisy(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, NOISE, count)


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
    assert set(metrics) == set(figures.METRICS.values())
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
    assert float(tags["p95_change_error"]) == pytest.approx(0.00103, abs=1e-5)  # 3.05 … 3.07 ms over five rounds
    assert tags["p95_baseline"] == "1"


def test_a_version_measured_against_itself_keeps_its_change(client: MlflowClient, register: Callable[..., str]) -> None:
    """A champion that is judged and promoted once more has changed nothing, and its first change still holds."""
    client.set_registered_model_alias(NAME, registry.CHAMPION, register())
    tags, _ = promoted(client, verdict_on(register(), baseline="1"))
    again, metrics = promoted(client, verdict_on("2", baseline="2"))
    changes = [name for name in tags if name.startswith(("p95_change", "p95_baseline"))]
    assert len(changes) == 5
    assert [again[name] for name in changes] == [tags[name] for name in changes]
    assert metrics["perf.p95_change"] == pytest.approx(0.02, abs=1e-3)


def test_a_version_against_another_model_has_no_baseline_here() -> None:
    """Version 1 of a model of another name is not version 1 of this one."""
    verdict = verdict_on("2", baseline="1")
    assert verdict.baseline is not None
    tags = figures.tags(replace(verdict, baseline=replace(verdict.baseline, name="another")))
    assert "p95_change" in tags
    assert "p95_baseline" not in tags


def test_every_metric_is_a_row_of_the_report() -> None:
    """A row that is renamed would vanish from MLflow without a word."""
    assert set(figures.METRICS) <= {row.name for row in verdict_on("2", "1").criteria}


@given(st.lists(st.floats(-0.5, 1.0), min_size=1, max_size=30))
def test_the_chain_is_the_product_of_its_changes(changes: list[float]) -> None:
    """Each level is that of the version before, times one plus the change, from 1 on."""
    points = chain.link(versions([math.log1p(change) for change in changes]))
    assert [point.level for point in points] == pytest.approx(np.cumprod([1, *(1 + change for change in changes)]))
    assert chain.path(points[-1]) == points
    assert trend.logs_of_changes(points) == pytest.approx([math.log1p(change) for change in changes])


def test_versions_come_in_the_order_of_promotion(client: MlflowClient, register: Callable[..., str]) -> None:
    """Which may not be that of their numbers; what was never promoted is not there, and a broken tag is none."""
    register(promoted_at="2026-02-01", p95_ms="3.5", p95_change="nan", p95_change_low="much")
    register(p95_ms="9.9")
    register(promoted_at="2026-01-01", p95_ms="-1", p95_change="-0.1", p95_baseline="1")
    found = chain.read(client.search_model_versions(f"name='{NAME}'"))
    assert [(each.version, each.p95, each.change, each.low) for each in found] == [
        ("3", None, -0.1, None),
        ("1", 3.5, None, None),
    ]
    assert [point.before for point in chain.link(found)] == [None, None]  # its baseline came later


def test_a_rollback_is_no_break_and_a_missing_baseline_is() -> None:
    """After a rollback the chain goes on from the version that was gone back to; it starts anew without a baseline."""
    past = versions([0.1, 0.2, 0.3, 0.4])
    past[2] = past[2]._replace(rolled_back="to version 2")
    past[3] = past[3]._replace(baseline="2")
    found = trend.look(NAME, past, "5")
    assert [point.promoted.version for point in found.path] == ["1", "2", "4", "5"]
    assert found.path[-1].level == pytest.approx(math.exp(0.1 + 0.3 + 0.4))
    assert trend.breaks(found) == ["Version 4 was measured against version 2, not 3, which was rolled back."]
    assert [point.promoted.version for point in trend.look(NAME, past, "2").path] == ["1", "2"]  # rolled back to

    past[3] = past[3]._replace(baseline="")
    past[4] = past[4]._replace(change=None)
    found = trend.look(NAME, past, "5")
    assert [point.level for point in found.points[3:]] == [1.0, 1.0]
    first, second = trend.breaks(found)
    assert "anew at version 4: its baseline, another model, is not in this history" in first
    assert "anew at version 5: no change against a baseline was measured" in second


@pytest.mark.parametrize("count", [FEWEST - 1, 19, 39])
def test_noise_alone_shows_no_shift(count: int) -> None:
    """In 95 of 100 histories at least, though their product wanders far."""
    none = sum(not in_changes(found.tolist(), noise(found.tolist(), [NOISE])) for found in histories(count))
    assert none >= 95


def histories(count: int) -> list[np.ndarray]:
    return [noisy(seed, count) for seed in range(100)]


@pytest.mark.parametrize("size", [math.log(1.1), -math.log(1.1)])
@pytest.mark.parametrize("place", [0, 9, 18])
def test_a_step_is_found_where_it_is(size: float, place: int) -> None:
    """One of 10 % in noise of 2 %, up or down: exactly it in 75 of 100 histories, by one measurement."""
    exact = 0
    for changes in histories(19):
        changes[place] += size
        found = in_changes(changes.tolist(), noise(changes.tolist(), [NOISE]))
        exact += [(shift.first, shift.last) for shift in found] == [(place, place + 1)]
        assert all(shift.step == (shift.last - shift.first == 1) for shift in found)
    assert exact >= 75


@given(st.integers(0, 18), st.sampled_from([-1, 1]), st.integers(0, 1000))
def test_a_large_step_is_never_missed(place: int, way: int, seed: int) -> None:
    """One of 20 % in noise of 1 %, wherever it is, with its size."""
    changes = noisy(seed, 19) / 2
    changes[place] += way * math.log(1.2)
    found = in_changes(changes.tolist(), noise(changes.tolist(), [NOISE / 2]))
    assert any(shift.first <= place < shift.last and shift.size * way > 0 for shift in found)


def test_a_creeping_loss_is_seen() -> None:
    """1.5 % in each of 20 versions in noise of 2 %: the sum is more than noise in 80 of 100 histories."""
    seen = sum(
        "more than noise" in trend.drifts(trend.look(NAME, versions(changes + math.log(1.015)), "21"))[0]
        for changes in histories(20)
    )
    assert seen >= 80
    long = trend.look(NAME, versions(noisy(1, 40) + math.log(1.015)), "41")
    assert len(trend.drifts(long)) == 2
    assert re.search(r"Slower by \d+ % little by little from version \d+ to version \d+, ", trend.shifts(long)[0])


@pytest.mark.parametrize(("machines", "found"), [(["A CPU"], True), (["A CPU", "Another CPU"], False)])
def test_without_changes_milliseconds_are_searched(machines: list[str], found: bool) -> None:
    """Where one machine measured them all."""
    past = [
        each._replace(change=None, baseline="", machine=machines[place % len(machines)], p95=3.0 if place < 8 else 3.6)
        for place, each in enumerate(versions([0.0] * 15))
    ]
    looked = trend.look(NAME, past, "16")
    assert looked.shifts == ([Shift(7, 8, pytest.approx(math.log(1.2)))] if found else [])
    assert trend.headline(looked).endswith("no change along its versions was measured")
    assert trend.breaks(looked) == trend.drifts(looked) == []
    assert "<svg" in history_page.page(looked)


def test_noise_of_milliseconds_shows_no_step() -> None:
    """In 95 of 100 histories at least."""
    assert sum(not in_levels(levels.tolist()) for levels in histories(12)) >= 95


@pytest.mark.parametrize("count", [1, 2, FEWEST - 1])
def test_few_versions_are_drawn_and_nothing_is_marked(count: int) -> None:
    """And it says how many it takes."""
    looked = trend.look(NAME, versions([0.5] * (count - 1)), "")
    assert looked.shifts == []
    assert "once 8 versions" in trend.shifts(looked)[0]
    assert f'<p class="soft">{count} version' in history_page.page(looked)


def test_the_command_draws_what_the_store_holds(
    client: MlflowClient, register: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Three lines, a page that needs nothing but itself and in which tags stay text, and a picture."""
    for number in range(1, 13):
        change = (
            {} if number == 1 else {"p95_change": "0.3" if number == 7 else "0.001", "p95_baseline": str(number - 1)}
        )
        register(
            promoted_at=f"2026-03-{number:02}T10:00:00+00:00",
            promoted_by=HOSTILE,
            git_sha=HOSTILE,
            runner_cpu=f"{number % 7} {HOSTILE}",
            rolled_back=HOSTILE if number == 12 else "",
            p95_ms="3.0",
            **change,
        )
    client.set_registered_model_alias(NAME, registry.CHAMPION, "11")
    assert history.main([]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("Since version 1, over 10 promotions: +31 % (+")
    assert printed[1:] == [
        "Slower by 30 % from version 6 to version 7, promoted on 2026-03-07.",
        "Written: reports/history.html, reports/history.png",
    ]
    html = Path("reports/history.html").read_text(encoding="utf-8")
    assert re.findall(r"<(script|img|link|iframe|object|base)\b|@import|url\(\s*['\"]?(?!#)", html) == []
    assert re.findall(r"(?:href|src)\s*=\s*['\"](?!#)", re.sub(r"&[a-z#0-9]+;", "", html)) == []
    assert html.count("<svg") == html.count("</svg>") == 2
    assert printed[1] in html.replace("&nbsp;", " ")
    assert html.count("&lt;script&gt;alert(1)") >= 12
    assert "other machines" in html
    assert "prefers-color-scheme: dark" in html
    assert Path("reports/history.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_that_was_never_promoted_has_no_history(
    client: MlflowClient, register: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence says what to do."""
    register()
    assert history.main([]) == 3
    assert re.fullmatch(r"Cannot draw a history: .* was ever promoted; run `make pipeline`\n", capsys.readouterr().err)


def test_a_store_that_is_none_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, without a traceback."""
    (tmp_path / "pipeline.toml").write_text((ROOT / "pipeline.toml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://nowhere")
    assert history.main([]) == 3
    assert re.fullmatch(r"Cannot draw a history: .+\n", capsys.readouterr().err)
    mlflow.set_tracking_uri(None)
