"""Promotion, rollback and the rebuilt store: real MLflow on SQLite, the service as real processes.

Only the registry is a script here, which keeps its tag champion in a file; the template's tests have a real one.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import msgspec
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline import bundle as bundles
from pipeline.schema import METRICS
from pipeline.settings import load_settings
from release import production, promote, restore, rollback
from release.production import Refused
from release.repository import ImageError, Lookup
from tests.engine.conftest import PROJECT, copy_project, run
from training import registry

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow runs in this process, with warnings of its own

SETTINGS = load_settings(PROJECT)
NAME = SETTINGS.project.name
ANYTHING = {True: "-1e9", False: "1e9"}[METRICS[SETTINGS.data.task][SETTINGS.quality.metric]]  # any model reaches it
REPOSITORY = "ghcr.io/acme/loans"
IMAGES = {number: f"{REPOSITORY}@sha256:{str(number) * 64}" for number in range(1, 10)}


@pytest.fixture(name="two", scope="module")
def _two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two versions of a model on few rows. Read only."""
    project = copy_project(tmp_path_factory.mktemp("two") / "project")
    path = project / SETTINGS.data.path
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *random.Random(3).sample(lines[1:], min(1500, len(lines) - 1))]))
    for seed in ("1", "2"):
        given = {"MLOPS_QUALITY__FLOOR": ANYTHING, "MLOPS_QUALITY__TOLERANCE": "1e9", "MLOPS_TRAINING__SEED": seed}
        done = run(project, "training.train", **given)
        assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture(name="here")
def _here(two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of its store, in which commands run. The artifacts are where they were."""
    here = tmp_path / "here"
    here.mkdir()
    shutil.copy(two / "mlflow.db", here)
    shutil.copy(two / "pipeline.toml", here)
    monkeypatch.chdir(here)
    return here


@pytest.fixture(name="client")
def _client(here: Path) -> MlflowClient:
    return registry.connect(NAME)


@pytest.fixture(name="docker")
def _docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a `docker` on PATH whose registry keeps the tag champion in a file, which is returned.

    `fails`: what it says when the tag is set.
    """

    def write(fails: str = "") -> Path:
        tag, program = tmp_path / "champion", tmp_path / "bin" / "docker"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"""#!/bin/sh
            case "$3" in
            inspect) [ -s {tag} ] || {{ echo "ERROR: {REPOSITORY}:champion: not found" >&2; exit 1; }}
                echo '{{"digest": "'$(cat {tag})'"}}';;
            create) [ -z "{fails}" ] || {{ echo "ERROR: {fails}" >&2; exit 1; }}
                for last; do :; done; echo "${{last#*@}}" >{tag};;
            esac""")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
        return tag

    return write


def champion(client: MlflowClient) -> str:
    found = registry.find(client, NAME, registry.CHAMPION)
    return str(found.version) if found else ""


def tags(client: MlflowClient, version: int) -> dict[str, str]:
    return dict(client.get_model_version(NAME, str(version)).tags)


def crown(client: MlflowClient, version: int, image: str = "", **more: str) -> None:
    """Makes a version the champion, without asking it."""
    marks = {"image": image, "promoted_at": "2026-01-01", **more}
    production.move(client, client.get_model_version(NAME, str(version)), image, marks)


def test_alias_and_tag_move_together(client: MlflowClient, docker: Callable[[str], Path]) -> None:
    """Where the registry refuses, MLflow is as it was: alias, tags and all, with and without a champion before."""
    docker("403 Forbidden")
    before = tags(client, 2)
    with pytest.raises(ImageError, match="403 Forbidden"):
        crown(client, 2, IMAGES[2])
    assert (champion(client), tags(client, 2)) == ("", before)
    tag = docker("")
    crown(client, 1, IMAGES[1])
    assert (champion(client), tag.read_text()) == ("1", f"sha256:{'1' * 64}\n")
    docker("503 Service Unavailable")
    with pytest.raises(ImageError, match="503"):
        crown(client, 2, IMAGES[2])
    assert (champion(client), tags(client, 2), tag.read_text()) == ("1", before, f"sha256:{'1' * 64}\n")


@pytest.mark.parametrize(
    ("now", "replaces", "allowed"),
    [
        (1, IMAGES[1], True),
        (2, IMAGES[1], True),  # the very candidate: the job is run again
        (0, "", True),
        (3, IMAGES[1], False),  # a newer one was promoted meanwhile
        (1, "", False),  # it was judged without a baseline
        (0, IMAGES[1], False),
    ],
)
def test_an_older_run_promotes_nothing_over_a_newer_one(
    docker: Callable[[str], Path], now: int, replaces: str, allowed: bool
) -> None:
    """The champion has to be the one beside which the candidate was judged."""
    tag = docker("")
    tag.write_text(f"sha256:{str(now) * 64}\n" if now else "")
    if allowed:
        promote.check_replaced(IMAGES[2], replaces)
    else:
        with pytest.raises(Refused, match="run all jobs again"):
            promote.check_replaced(IMAGES[2], replaces)


def test_what_serves_another_model_is_refused(client: MlflowClient) -> None:
    """The version's code and bundle are booted, and what they say of themselves has to be what MLflow says."""
    version = client.get_model_version(NAME, "2")
    production.verify("", version)
    client.set_model_version_tag(NAME, "2", "bundle_sha256", "another")
    with pytest.raises(Refused, match=r"not name .* version 2, bundle_sha256 another"):
        production.verify("", client.get_model_version(NAME, "2"))


@pytest.mark.slow
def test_a_preview_is_no_candidate(two: Path, tmp_path: Path) -> None:
    """A pull request that registers with the team's MLflow leaves the alias candidate where it is."""
    project = tmp_path / "project"
    shutil.copytree(two, project)
    done = run(project, "training.train", "--preview", "preview-7", MLOPS_QUALITY__FLOOR=ANYTHING)
    assert done.returncode == 0, done.stdout + done.stderr
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
    client = MlflowClient()
    assert tags(client, 3)["preview"] == "preview-7"
    assert str(client.get_model_version_by_alias(NAME, "candidate").version) == "2"


def test_retraining_promotes_only_where_the_settings_allow_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not promoted is then no failure, and it says what to do."""
    monkeypatch.setenv("MLOPS_RETRAINING__PROMOTE", "false")
    assert promote.main(["--retrained"]) == 0
    assert "[retraining] promote = false" in capsys.readouterr().out


def test_a_rollback_says_who_and_why(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Back to what the champion replaced, which is booted first; both versions have the note."""
    monkeypatch.setenv("GITHUB_ACTOR", "octocat")
    crown(client, 1)
    crown(client, 2, replaced="1")
    assert rollback.main(["--reason", "false alarms"]) == 0
    assert "is version 1 again, and version 2 no more" in capsys.readouterr().out
    assert champion(client) == "1"
    assert {k: tags(client, 1)[k] for k in ("rolled_back_from", "rolled_back_by", "rolled_back_reason")} == {
        "rolled_back_from": "2",
        "rolled_back_by": "octocat",
        "rolled_back_reason": "false alarms",
    }
    assert tags(client, 2)["rolled_back"].endswith("by octocat: false alarms")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--reason", " "], "say why"),
        (["--reason", "x"], "does not know what version 2 replaced; versions that can be gone back to: 1"),
        (["--reason", "x", "--to", "2"], "version 2 is the champion"),
        (["--reason", "x", "--to", "9"], "version 9 never was champion"),
    ],
)
def test_a_rollback_that_is_not_allowed_moves_nothing(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    """One line says why, and which versions can be gone back to."""
    crown(client, 1)
    crown(client, 2)
    assert rollback.main(arguments) == 1
    printed = capsys.readouterr().err
    assert expected in printed
    assert len(printed.splitlines()) == 1
    assert champion(client) == "2"


def restored(found: Lookup, here: Path) -> str:
    return "\n".join(restore.restore(NAME, found, here / "mlflow.db"))


@pytest.fixture(name="laid_out")
def _laid_out(two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An "image": /app of a champion, as `docker cp` gives it. Its bundle is that of version 2."""
    app = tmp_path / "app"
    app.mkdir()
    for part in bundles.SERVED:
        (shutil.copytree if (two / part).is_dir() else shutil.copy)(two / part, app / part)
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"""#!/bin/sh
        case "$1" in create) echo container;; cp) cp -r "{app}/${{2#container:/app/}}" "$3";; esac""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    return app


def test_a_lost_store_is_rebuilt_from_the_champions_image(
    laid_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its own version, with its metrics and what it takes to serve it again; and it is said."""
    card = bundles.read(laid_out / "bundle").card
    (laid_out / "bundle" / "card.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(card, version="5")))
    new = tmp_path / "new"
    new.mkdir()
    monkeypatch.chdir(new)
    said = restored(Lookup(IMAGES[5]), new)
    assert "No MLflow store came from the cache" in said
    assert f"MLflow does not know the champion, version 5: rebuilt from {IMAGES[5]}" in said
    client = registry.connect(NAME)
    version = client.get_model_version_by_alias(NAME, "champion")
    assert (str(version.version), version.tags["image"]) == ("5", IMAGES[5])
    assert client.get_run(version.run_id).data.metrics == pytest.approx(card.metrics)
    assert [str(v.version) for v in client.search_model_versions(f"name='{NAME}'")] == ["5"]
    production.verify("", version)
    assert "agree: the champion is version 5" in restored(Lookup(IMAGES[5]), new)
    assert str(registry.create_version(client, NAME, version.source, version.run_id, {}).version) == "6"


def test_versions_of_another_past_are_not_mistaken_for_the_champion(
    here: Path, client: MlflowClient, laid_out: Path
) -> None:
    """A store that counted anew has a version of that number, but of another model; that it goes is said."""
    client.set_model_version_tag(NAME, "2", "bundle_sha256", "another")
    said = restored(Lookup(IMAGES[2]), here)
    assert "The versions of" in said
    assert "up to 2, are of another past, and were taken out." in said
    assert [str(v.version) for v in client.search_model_versions(f"name='{NAME}'")] == ["2"]
    assert tags(client, 2)["image"] == IMAGES[2]


def test_the_alias_follows_the_registry(here: Path, client: MlflowClient, laid_out: Path) -> None:
    """A store that missed a promotion, because it was saved before it, is put right; nothing is registered twice."""
    crown(client, 1)
    assert "alias champion now names version 2" in restored(Lookup(IMAGES[2]), here)
    assert champion(client) == "2"
    assert len(client.search_model_versions(f"name='{NAME}'")) == 2


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Lookup(""), "There is no champion yet."),
        (Lookup("", "ERROR: denied"), "The registry does not say whether there is a champion (ERROR: denied)."),
    ],
)
def test_a_first_run_restores_nothing(here: Path, client: MlflowClient, found: Lookup, expected: str) -> None:
    """And says why."""
    assert expected in restored(found, here)
    assert champion(client) == ""


def test_a_champion_of_another_model_stays_out(
    laid_out: Path, here: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project that was renamed begins anew in MLflow; the old image is still the baseline of the load test."""
    assert "stays out of MLflow" in "\n".join(restore.restore("renamed", Lookup(IMAGES[1]), here / "mlflow.db"))
    with pytest.raises(MlflowException):
        client.get_registered_model("renamed")
