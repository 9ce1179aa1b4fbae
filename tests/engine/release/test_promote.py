"""Only what was judged beside the champion takes its place. MLflow on SQLite; the verdicts are made up."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from msgspec.structs import replace

from perf.files import write_verdict
from perf.verdict import Accepted, Measured, Report
from pipeline.settings import load_settings
from release import promote
from release.production import Refused
from tests.engine.conftest import PROJECT
from tests.engine.perf.examples import report_of, rounds_of
from training import registry

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow runs in this process, with warnings of its own

NAME = load_settings(PROJECT).project.name


@pytest.fixture(name="client", scope="module")
def _client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """A store with three versions of nothing."""
    folder = tmp_path_factory.mktemp("promote")
    (folder / "pipeline.toml").write_text((PROJECT / "pipeline.toml").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it for whoever comes next
        client = registry.connect(NAME)
        for number in (1, 2, 3):
            with registry.run(NAME, "") as run_id:
                registry.create_version(client, NAME, "file:///nothing", run_id, {"bundle_sha256": f"b{number}"})
    client.set_registered_model_alias(NAME, registry.CANDIDATE, "3")
    return client


@pytest.fixture(name="there")
def _there(client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipeline.toml").write_text((PROJECT / "pipeline.toml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(client.tracking_uri))
    return tmp_path


def judged(beside: str, bundle: str = "", **changes: object) -> Report:
    """A pass of version 3, beside a version or, with an empty one, beside none."""
    report = report_of(rounds_of([3.0] * 5, [3.0] * 5 if beside else None))
    found = report.baseline and replace(report.baseline, name=NAME, version=beside, bundle_sha256=bundle)
    candidate = replace(report.candidate, name=NAME, version="3")
    return replace(report, candidate=candidate, baseline=found, **changes)


OLD = judged("1").baseline


def test_a_workflow_promotes_what_it_has_judged(client: MlflowClient) -> None:
    """Though somebody has trained on the team's server since, and the alias candidate is theirs."""
    verdict = judged("2")
    mine = replace(verdict, candidate=replace(verdict.candidate, version="2", bundle_sha256="b2"))
    assert promote.allowed(client, NAME, mine, here=False).version == 2
    other = replace(verdict, candidate=replace(verdict.candidate, version="2", bundle_sha256="b9"))
    for report, here in ((mine, True), (other, False)):
        with pytest.raises(Refused):
            promote.allowed(client, NAME, report, here)


def test_what_was_rolled_back_is_promoted_only_with_other_code(client: MlflowClient) -> None:
    """The reason is said, and the way back to it on purpose."""
    for key, value in (("rolled_back", "to version 1, today, by Ann: bad"), ("rolled_back_service", "s2")):
        client.set_model_version_tag(NAME, "2", key, value)
    candidate = client.get_model_version(NAME, "2")
    with pytest.raises(Refused, match=r"version 2 was rolled back to version 1, .*bad.* `make rollback TO=2`"):
        promote.check_changed(candidate, "s2")
    promote.check_changed(candidate, "s3")


def test_a_candidate_that_was_not_measured_is_named(client: MlflowClient) -> None:
    """Whatever the last verdict was, it is on another version."""
    verdict = replace(judged(""), outcome="inconclusive")
    other = replace(verdict, candidate=replace(verdict.candidate, version="2"))
    with pytest.raises(Refused, match=r"the verdict is on .* version 2, but the candidate is .* version 3"):
        promote.allowed(client, NAME, other, here=True)


@pytest.mark.parametrize(
    ("champion", "verdict", "why"),
    [
        ("2", judged("2"), ""),
        ("2", judged("2", bundle="b2"), ""),
        ("2", judged("2", bundle="b9"), "beside version 2, but the champion is another model of that number"),
        ("2", judged("1", base="1"), "beside BASE=1, but the champion is version 2"),
        ("2", judged("2", base="2"), ""),
        ("2", judged("1"), "beside version 1, but the champion is version 2"),
        ("2", judged(""), "beside none, but the champion is version 2"),
        ("1", judged("", left_out=OLD), ""),  # whose contract is another one
        ("2", judged("", left_out=OLD, base="1"), "beside BASE=1, but the champion is version 2"),
        ("", judged(""), ""),
        ("", judged("1", base="1"), "beside BASE=1, but the champion is none"),
        ("3", judged("2"), ""),  # it is promoted already
        ("3", judged("2", base="2"), "beside BASE=2, but the champion is version 3"),  # whose figures stay
    ],
)
def test_only_beside_the_champion(
    client: MlflowClient, there: Path, capsys: pytest.CaptureFixture[str], champion: str, verdict: Report, why: str
) -> None:
    """Or beside none where there is none; otherwise exit code 1, one sentence, and the champion stays."""
    if champion:
        client.set_registered_model_alias(NAME, registry.CHAMPION, champion)
    else:
        client.delete_registered_model_alias(NAME, registry.CHAMPION)
    write_verdict(there / "verdict.json", verdict)
    assert promote.main(["--verdict", "verdict.json"]) == (1 if why else 0)
    said = capsys.readouterr().err
    found = registry.find(client, NAME, registry.CHAMPION)
    assert (str(found.version) if found else "") == (champion if why else "3")
    assert (why in said, len(said.splitlines())) == (True, 1 if why else 0), said


def test_what_was_accepted_goes_with_the_version(client: MlflowClient, there: Path) -> None:
    """Who looks at MLflow later sees that the champion was promoted although it was slower."""
    client.set_registered_model_alias(NAME, registry.CHAMPION, "2")
    signed = Accepted(
        baseline=Measured(version="2", bundle_sha256="b2"), up_to=0.2, reason="worth it", by="ada", at="2026-11-25"
    )
    write_verdict(there / "verdict.json", judged("2", accepted=signed))
    assert promote.main(["--verdict", "verdict.json"]) == 0
    tags = dict(client.get_model_version(NAME, "3").tags)
    assert tags["accepted"] == "p95 up to +20 % over version 2, by ada, 2026-11-25: worth it"
