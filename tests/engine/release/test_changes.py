"""release.changes: what a push has changed, said to people and to the next jobs of a workflow."""

import io
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from pipeline import bundle as bundles
from pipeline import notes
from pipeline.notes import Champion, Changes
from pipeline.settings import load_settings
from release import changes, production
from tests.engine.conftest import run
from tests.engine.release.github_server import GitHub, serving
from training import registry, store
from training.quality.report import Model

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow runs in this process, with warnings of its own

IMAGE = "ghcr.io/acme/loans@sha256:" + "1" * 64
OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture(name="here")
def _here(trained: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that was just trained, in which the command runs."""
    for name in ("bundle", "mlartifacts"):
        shutil.copytree(trained / name, project / name)
    shutil.copy(trained / "mlflow.db", project)
    with redirect_stdout(io.StringIO()):
        store.prepare(project / "mlflow.db")  # says that it was moved
    name = load_settings(project).project.name
    monkeypatch.chdir(project)
    registry.connect(name).set_registered_model_alias(name, registry.CHAMPION, "1")
    (project / "Dockerfile").write_text("FROM python\n")
    notes.write(project, Model(passed=True, sentence="roc_auc is 0.9", kept="1"))
    monkeypatch.chdir(project)
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.setenv(name, str(project / name))
    for name in ("GITHUB_SHA", "GITHUB_EVENT_PATH"):
        monkeypatch.delenv(name, raising=False)
    return project


@pytest.fixture(name="github")
def _github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """GitHub, as a workflow reaches it."""
    with serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def service(project: Path) -> str:
    card = bundles.read(project / "bundle").card
    return bundles.service_inputs(project, load_settings(project), card.bundle_sha256, card.runtime)


def outputs(project: Path) -> dict[str, str]:
    lines = (project / "GITHUB_OUTPUT").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)  # the latest of each


def test_the_first_push_is_measured_and_promoted(here: Path) -> None:
    """There is no champion, and nothing to say of it."""
    notes.write(here, Champion(""))
    notes.write(here, Model(passed=True, sentence="roc_auc is 0.9"))
    assert changes.main([]) == 0
    expected = {"measure": "true", "publish": "true", "store": "true", "promote": "true", "champion": "", "note": ""}
    assert outputs(here) == expected


def test_the_same_service_is_neither_built_nor_measured(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said in the log, in the summary, in the outputs and, through the note, in the comment."""
    notes.write(here, Champion(IMAGE, inputs=service(here)))
    (here / "README.md").write_text("# Another\n")
    assert changes.main([]) == 0
    said = "Nothing to measure: the service is the champion's, version 1."
    assert [outputs(here)[name] for name in ("measure", "publish", "promote", "note")] == ["false"] * 3 + [said]
    assert notes.read(here, Changes) == Changes(False, [said])
    assert capsys.readouterr().out.strip() == said == (here / "GITHUB_STEP_SUMMARY").read_text().strip()
    assert changes.main(["--force"]) == 0
    assert outputs(here)["measure"] == "true"


def test_a_new_mlflow_server_gets_its_champion(here: Path) -> None:
    """It knows none, so the model was trained anew: it is promoted there, although the image is made of the same."""
    notes.write(here, Champion(IMAGE, inputs=service(here)))
    client, name = registry.connect(load_settings(here).project.name), load_settings(here).project.name
    client.delete_registered_model_alias(name, registry.CHAMPION)
    for kept, note in (("", ""), ("1", "The model is version 1.")):  # the second time, it is the candidate's
        notes.write(here, Model(passed=True, sentence="roc_auc is 0.9", kept=kept))
        assert changes.main([]) == 0
        assert [outputs(here)[each] for each in ("measure", "promote", "note")] == ["true", "true", note]


@pytest.mark.parametrize(
    "path", ["serving/service.py", "src/pipeline/columns.py", "Dockerfile", "requirements/serve.txt"]
)
def test_a_change_of_the_service_is_measured_with_the_champions_model(here: Path, path: str) -> None:
    """Where the model was not trained again, the reader of the verdict hears of it."""
    notes.write(here, Champion(IMAGE, inputs=service(here)))
    with (here / path).open("a") as file:
        file.write("\n# a change\n")
    assert changes.main([]) == 0
    assert (outputs(here)["measure"], outputs(here)["champion"]) == ("true", IMAGE)
    assert outputs(here)["note"] == "The model is the champion's, version 1."


@pytest.mark.parametrize(
    ("key", "measured"), [("SERVING__MAX_ROWS", True), ("PERF__P95_MS", True), ("PERF__LOAD__USERS", False)]
)
def test_of_the_settings_those_count_that_the_service_reads(
    here: Path, monkeypatch: pytest.MonkeyPatch, key: str, measured: bool
) -> None:
    """The limit of p95 is one: the service's metrics name it."""
    notes.write(here, Champion(IMAGE, inputs=service(here)))
    monkeypatch.setenv(f"MLOPS_{key}", "77")
    assert changes.main([]) == 0
    assert outputs(here)["measure"] == str(measured).lower()


def test_a_champion_that_cannot_be_seen_is_no_first_push(here: Path) -> None:
    """The comment says that the candidate was measured alone, and why.

    After a push to main it is not said: so ghcr.io answers before the first one, and promotion looks once more.
    """
    notes.write(here, Champion("", "The champion cannot be seen from a fork (403\nForbidden)"))
    notes.write(here, Model(passed=True, sentence="roc_auc is 0.9"))
    assert changes.main([]) == 0
    assert (outputs(here)["promote"], outputs(here)["note"]) == ("true", "")
    assert changes.main(["--preview", "preview-7"]) == 0
    assert (outputs(here)["measure"], outputs(here)["publish"], outputs(here)["promote"]) == ("true", "false", "false")
    assert outputs(here)["note"].startswith("The champion cannot be seen from a fork (403 Forbidden): ")


@pytest.mark.parametrize(("allowed", "promoted"), [("true", "true"), ("false", "false")])
def test_retraining_promotes_where_the_settings_allow_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, allowed: str, promoted: str
) -> None:
    """Nobody is asked to approve what is not going to be promoted."""
    monkeypatch.setenv("MLOPS_RETRAINING__PROMOTE", allowed)
    notes.write(here, Champion(""))
    assert changes.main(["--retrained"]) == 0
    assert (outputs(here)["publish"], outputs(here)["promote"]) == ("true", promoted)
    assert changes.main([]) == 0
    assert outputs(here)["promote"] == "true"


@pytest.mark.parametrize(
    ("status", "tip", "code"),
    [
        ("ahead", NEW, 1),
        ("ahead", OLD, 0),  # main was set back to it
        *((status, NEW, 0) for status in ("behind", "diverged", "identical", None)),
    ],
)
def test_an_old_run_that_is_started_again_promotes_nothing(
    here: Path,
    github: GitHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: str | None,
    tip: str,
    code: int,
) -> None:
    """Older is what the champion's commit descends from. A commit that GitHub does not know says nothing."""
    monkeypatch.setenv("GITHUB_SHA", OLD)
    github.compared[f"{OLD}...{NEW}"], github.tip = status, tip
    notes.write(here, Champion(IMAGE, inputs="other", revision=NEW))
    assert changes.main([]) == code
    assert (code == 0) == ("is older than" not in capsys.readouterr().err)
    assert changes.main(["--preview", "preview-7"]) == 0  # which promotes nothing anyway


@pytest.mark.parametrize("store_is_lost", [False, True])
def test_what_was_rolled_back_does_not_come_back_by_itself(
    champion: Path, capsys: pytest.CaptureFixture[str], store_is_lost: bool
) -> None:
    """Neither by a push that changes something else, nor by a retraining: only changed, or by force.

    Where MLflow's store is lost the registry knows, by the tag on the image that was left.
    """
    client, name = registry.connect(load_settings(champion).project.name), load_settings(champion).project.name
    left = service(champion)
    client.set_model_version_tag(name, "1", "rolled_back", "to version 0, today, by Ann: it denies everybody a loan")
    client.set_model_version_tag(name, "1", "rolled_back_service", left)
    client.delete_registered_model_alias(name, "champion")
    other = client.create_model_version(
        name, client.get_model_version(name, "1").source, tags={"bundle_sha256": "2" * 64}
    )
    client.set_registered_model_alias(name, "champion", str(other.version))
    client.set_registered_model_alias(name, "candidate", str(other.version))
    client.set_model_version_tag(name, "1", "beside", str(other.version))
    if store_is_lost:
        client.delete_model_version_tag(name, "1", "rolled_back")
    else:
        assert changes.main(["--due"]) == 0
        assert outputs(champion)["due"] == "false"
        assert "which was rolled back to version 0, today, by Ann: it denies" in capsys.readouterr().out
        done = run(champion, "training.train")
        assert "it stays version 1, which was rolled back" in done.stdout
    notes.write(champion, Champion(IMAGE, inputs="another", left=left))
    assert changes.main([]) == 0
    assert [outputs(champion)[key] for key in ("measure", "publish", "promote")] == ["false"] * 3
    assert outputs(champion)["note"].startswith("Nothing to measure: the service is what was rolled back ")
    for allowed in (["--force"], ["--preview", "preview-7"]):
        assert changes.main(allowed) == 0
        assert outputs(champion)["measure"] == "true"
    (champion / "serving" / "service.py").open("a").write("\n# mended\n")
    assert changes.main([]) == 0
    assert outputs(champion)["measure"] == "true"


def test_the_store_is_left_where_it_has_news(here: Path) -> None:
    """So what was trained in vain once, is not trained again each week."""
    notes.write(here, Champion(IMAGE, inputs=service(here)))
    for fitted, preview, left in ((False, [], "false"), (True, [], "true"), (True, ["--preview", "7"], "false")):
        notes.write(here, Model(passed=True, sentence="roc_auc is 0.9", kept="1", fitted=fitted))
        assert changes.main(preview) == 0
        assert outputs(here)["store"] == left


def test_without_training_there_is_nothing_to_compare(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is that of what could not be done, and the line names the command."""
    assert changes.main([]) == 3
    assert "make restore" in capsys.readouterr().err


@pytest.fixture(name="champion")
def _champion(here: Path, github: GitHub) -> Path:
    """The project after its first version was promoted, whose image is made of what lies here."""
    client = registry.connect(load_settings(here).project.name)
    production.move(client, client.get_model_version(load_settings(here).project.name, "1"), "", {"image": IMAGE})
    notes.write(here, Champion(IMAGE, inputs=service(here)))
    return here


def test_retraining_is_due_where_something_has_changed(
    champion: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data, or the service; else it ends there, without training anything."""
    assert changes.main(["--due"]) == 0
    assert (outputs(champion)["due"], "made of the same" in capsys.readouterr().out) == ("false", True)
    path = champion / load_settings(champion).data.path
    text = path.read_text()
    path.write_text(text + text.splitlines()[-1] + "\n")
    assert changes.main(["--due"]) == 0
    assert (outputs(champion)["due"], "What makes the model" in capsys.readouterr().out) == ("true", True)
    path.write_text(text)
    monkeypatch.setenv("MLOPS_SERVING__MAX_ROWS", "77")
    assert changes.main(["--due"]) == 0
    assert (outputs(champion)["due"], "What makes the service" in capsys.readouterr().out) == ("true", True)


@pytest.mark.parametrize(
    ("run_of_it", "due"),
    [
        ({"status": "in_progress"}, "busy"),
        ({"status": "waiting"}, "busy"),  # for a reviewer
        ({"status": "queued", "event": "pull_request"}, "true"),  # of a fork, from its branch main
        ({"status": "completed"}, "true"),
        ({"status": "in_progress", "head_branch": "faster"}, "true"),
    ],
)
def test_retraining_leaves_the_way_to_a_push(here: Path, github: GitHub, run_of_it: dict[str, Any], due: str) -> None:
    """It would take the place of one that waits, and a push trains on the same data; no issue is closed for that."""
    notes.write(here, Champion(""))
    github.runs.append({"head_branch": "main", "event": "push", "html_url": "https://github.example/run/5"} | run_of_it)
    assert changes.main(["--due"]) == 0
    assert outputs(here)["due"] == due
