"""Promotion, rollback and the rebuilt store: real MLflow on SQLite, the service as real processes.

Only the registry is a script here, which keeps its tag champion in a file; the template's tests have a real one.
"""

import contextlib
import random
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import mlflow
import msgspec
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service import utils
from msgspec.structs import replace

from perf.arms.processes import code_digest
from perf.verdict import Report
from pipeline import bundle as bundles
from pipeline import notes
from pipeline.notes import Champion
from pipeline.schema import METRICS
from pipeline.settings import load_settings
from release import production, promote, restore, rollback
from release.production import Refused
from release.repository import ImageError, Lookup
from tests.engine.conftest import PROJECT, copy_project, run
from tests.engine.perf.examples import report_of, rounds_of
from tests.engine.release.github_server import serving
from training import registry
from training.quality.report import Model

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
        done = run(project, "training.train", "--force", **given)
        assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture(name="here")
def _here(two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it in which commands run, with its store."""
    here = tmp_path / "here"
    shutil.copytree(two, here)
    utils._artifact_repos_cache.clear()  # of the files of runs, which have the same ids in each copy
    monkeypatch.chdir(here)
    return here


@pytest.fixture(name="client")
def _client(here: Path) -> MlflowClient:
    return registry.connect(NAME)


@dataclass
class Registry:
    """What a `docker` on PATH, which is a shell script, finds in a registry: files in a folder."""

    folder: Path

    def tag(self, name: str = "champion") -> str:
        """The digest behind a tag; empty: there is no such tag."""
        path = self.folder / "tags" / name
        return path.read_text().strip() if path.exists() else ""

    def set(self, name: str, image: str) -> None:
        (self.folder / "tags" / name).write_text(image.partition("@")[2])

    def fails(self, why: str) -> None:
        """What it says from now on when a tag is set; empty: nothing."""
        (self.folder / "fails").write_text(why)

    def image(self, image: str, app: Path, **labels: str) -> None:
        """An image whose /app is a folder."""
        number = image.rpartition(":")[2]
        (self.folder / "apps" / number).symlink_to(app)
        known = {f"mlops.{key.replace('_', '-')}": value for key, value in labels.items()}
        (self.folder / "labels" / number).write_bytes(msgspec.json.encode({"config": {"Labels": known}}))


@pytest.fixture(name="docker")
def _docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty registry."""
    folder, program = tmp_path / "registry", tmp_path / "bin" / "docker"
    for each in (program.parent, *(folder / name for name in ("tags", "labels", "apps"))):
        each.mkdir(parents=True)
    program.write_text(f"""#!/bin/sh
        cd {folder} && for last; do :; done
        case "$1 $3 $5" in
        "buildx inspect {{{{json .Manifest}}}}")
            [ -s "tags/${{last##*:}}" ] || {{ echo "ERROR: $last: not found" >&2; exit 1; }}
            echo '{{"digest": "'$(cat "tags/${{last##*:}}")'"}}';;
        "buildx inspect {{{{json .Image}}}}") cat "labels/${{last##*:}}" 2>/dev/null || echo '{{}}';;
        "buildx create "*)
            [ ! -s fails ] || {{ echo "ERROR: $(cat fails)" >&2; exit 1; }}
            echo "${{last#*@}}" >"tags/${{4##*:}}";;
        pull*) [ -e "apps/${{last##*:}}" ] || {{ echo "ERROR: $last: not found" >&2; exit 1; }};;
        create*) echo "container-${{last##*:}}";;
        cp*) from=${{2#container-}}; cp -rL "apps/${{from%%:*}}/${{2##*/}}" "$3";;
        esac""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    return Registry(folder)


def champion(client: MlflowClient) -> str:
    found = registry.find(client, NAME, registry.CHAMPION)
    return str(found.version) if found else ""


def tags(client: MlflowClient, version: int) -> dict[str, str]:
    return dict(client.get_model_version(NAME, str(version)).tags)


def crown(client: MlflowClient, version: int, image: str = "", **more: str) -> None:
    """Makes a version the champion, without asking it."""
    marks = {"image": image, "promoted_at": "2026-01-01", **more}
    production.move(client, client.get_model_version(NAME, str(version)), image, marks, f"promoted as {image}")


def test_alias_and_tag_move_together(client: MlflowClient, docker: Registry) -> None:
    """Where the registry refuses, MLflow is as it was: alias, tags and all, with and without a champion before."""
    docker.fails("403 Forbidden")
    before, text = tags(client, 2), client.get_model_version(NAME, "2").description
    with pytest.raises(ImageError, match="403 Forbidden"):
        crown(client, 2, IMAGES[2])
    assert (champion(client), tags(client, 2)) == ("", before)
    assert client.get_model_version(NAME, "2").description == text
    docker.fails("")
    crown(client, 1, IMAGES[1])
    assert (champion(client), docker.tag()) == ("1", f"sha256:{'1' * 64}")
    docker.fails("503 Service Unavailable")
    with pytest.raises(ImageError, match="503"):
        crown(client, 2, IMAGES[2])
    assert (champion(client), tags(client, 2), docker.tag()) == ("1", before, f"sha256:{'1' * 64}")
    with pytest.raises(ImageError, match="503"):
        crown(client, 1, IMAGES[3])
    assert tags(client, 1)["image"] == IMAGES[1]


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
    docker: Registry, now: int, replaces: str, allowed: bool
) -> None:
    """The champion has to be the one beside which the candidate was judged."""
    if now:
        docker.set("champion", IMAGES[now])
    if allowed:
        promote.check_replaced(IMAGES[2], replaces)
    else:
        with pytest.raises(Refused, match="run all jobs again"):
            promote.check_replaced(IMAGES[2], replaces)


def measured(project: Path) -> Report:
    """A pass of version 2 beside itself, of the code that lies in the project."""
    report = report_of(rounds_of([3.0] * 5, [3.0] * 5))
    kind = {"kind": "process", "code_sha256": code_digest(project), "image_id": "", "image": ""}
    candidate = replace(report.candidate, name=NAME, version="2", **kind)
    return replace(report, candidate=candidate, baseline=replace(candidate, code_sha256="older"))


def test_a_change_of_the_code_alone_is_promoted_under_its_version(here: Path, client: MlflowClient) -> None:
    """What is compared with next, and what a rollback boots, is the code that was measured."""
    crown(client, 2)
    client.set_registered_model_alias(NAME, registry.CANDIDATE, "2")
    (here / "Dockerfile").write_text("FROM python\n")
    (here / "serving" / "score.py").write_text("# another\n")
    assert promote.promote(client, NAME, measured(here), "", None, here) == "2"
    snapshot = registry.download_snapshot(client.get_model_version(NAME, "2"), str(here / "bundle"))
    assert Path(snapshot, "serving", "score.py").read_text() == "# another\n"
    before = tags(client, 2)
    verdict = measured(here)
    (here / "serving" / "score.py").write_text("# and another\n")
    with pytest.raises(Refused, match="changed since it was measured"):
        promote.promote(client, NAME, verdict, "", None, here)
    assert tags(client, 2) == before


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


@pytest.fixture(name="chain")
def _chain(client: MlflowClient, app: Path, docker: Registry) -> Registry:
    """A registry whose champion is version 2, and was version 1 before; MLflow has lost both but their numbers."""
    docker.image(IMAGES[1], renumbered(app, 1), version="1")
    # Built before the repository got its name of today.
    docker.image(IMAGES[2], app, version="2", replaces=IMAGES[1].replace(REPOSITORY, "ghcr.io/acme/old"))
    for number in (1, 2):
        crown(client, number, IMAGES[number])
    return docker


def test_a_rollback_needs_no_more_than_the_registry(
    chain: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a store that is gone: what the champion's image replaced comes back, and is registered again."""
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy("pipeline.toml", new)
    monkeypatch.chdir(new)
    monkeypatch.setattr(production, "verify", lambda *_: None)  # which would boot the image
    assert restore.main(["--repository", REPOSITORY]) == 0
    assert rollback.main(["--reason", "false alarms"]) == 0
    client = registry.connect(NAME)
    assert (champion(client), chain.tag()) == ("1", IMAGES[1].partition("@")[2])
    assert tags(client, 1)["image"] == IMAGES[1]
    assert tags(client, 1)["rolled_back_reason"] == "false alarms"
    assert rollback.main(["--reason", "it was not that", "--to", "2"]) == 0
    assert (champion(client), chain.tag()) == ("2", IMAGES[2].partition("@")[2])


def test_a_rollback_goes_back_to_the_code_before(
    client: MlflowClient,
    chain: Registry,
    app: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where the serving code alone was changed, the version is the same, and the image and its snapshot are not."""
    chain.image(IMAGES[3], app, version="2", replaces=IMAGES[2], inputs_sha256="new")
    crown(client, 2, IMAGES[3])
    monkeypatch.setattr(production, "verify", lambda *_: None)
    assert rollback.main(["--reason", "slow"]) == 0
    assert "version 2 again, with the code that served it before" in capsys.readouterr().out
    assert (champion(client), chain.tag()) == ("2", IMAGES[2].partition("@")[2])
    assert tags(client, 2)["image"] == IMAGES[2]
    assert production.whole(client.get_model_version(NAME, "2"))


def test_what_was_rolled_back_is_marked(
    client: MlflowClient, chain: Registry, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    """In the registry as well, so that the next push does not bring the same again, and no old job promotes it."""
    (chain.folder / "labels" / ("2" * 64)).write_text('{"config": {"Labels": {"mlops.inputs-sha256": "two"}}}')
    chain.set("champion-1", IMAGES[1])
    monkeypatch.setattr(production, "verify", lambda *_: None)
    assert rollback.main(["--reason", "it denies everybody a loan", "--to", "1"]) == 0
    assert chain.tag("rolled-back") == IMAGES[2].partition("@")[2]
    assert tags(client, 2)["rolled_back"].endswith(": it denies everybody a loan")
    with pytest.raises(Refused, match="this image was rolled back"):
        promote.check_replaced(IMAGES[2], IMAGES[1])
    assert restore.main(["--repository", REPOSITORY]) == 0
    assert notes.read(here, Champion).left == "two"


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("2", "version 2 is the champion"),
        ("9", f"version 9 never was champion: {REPOSITORY}:champion-9 is not there"),
        ("../1", "give the number of a version"),
    ],
)
def test_a_rollback_to_what_the_registry_does_not_have_moves_nothing(
    client: MlflowClient, chain: Registry, capsys: pytest.CaptureFixture[str], to: str, expected: str
) -> None:
    """One line says why."""
    assert rollback.main(["--reason", "x", "--to", to]) == 1
    assert expected in capsys.readouterr().err
    assert (champion(client), chain.tag()) == ("2", IMAGES[2].partition("@")[2])


def test_the_first_champion_has_nothing_before_it(
    client: MlflowClient, chain: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its image names no other."""
    crown(client, 1, IMAGES[1])
    assert rollback.main(["--reason", "x"]) == 1
    assert "names none before it; name a version (2)" in capsys.readouterr().err


def restored(found: Lookup, here: Path, name: str = NAME) -> str:
    said: list[str] = []
    restore.restore(name, found, here, said.append)
    return "\n".join(said)


@pytest.fixture(name="app")
def _app(two: Path, tmp_path: Path) -> Path:
    """/app of an image whose bundle is that of version 2."""
    app = tmp_path / "app"
    app.mkdir()
    for part in bundles.SERVED:
        (shutil.copytree if (two / part).is_dir() else shutil.copy)(two / part, app / part)
    return app


def renumbered(app: Path, version: int) -> Path:
    """A copy of it whose bundle says that it is of another version."""
    copy = app.with_name(f"app-{version}")
    shutil.copytree(app, copy)
    card = bundles.read(copy / "bundle").card
    card = msgspec.structs.replace(card, version=str(version))
    (copy / "bundle" / "card.json").write_bytes(msgspec.json.encode(card))
    return copy


def test_a_lost_store_is_rebuilt_from_the_champions_image(
    app: Path, docker: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its own version, with its metrics and what it takes to serve it again; and it is said."""
    card = bundles.read(app / "bundle").card
    docker.image(IMAGES[5], renumbered(app, 5), inputs_sha256="of the service")
    new = tmp_path / "new"
    new.mkdir()
    monkeypatch.chdir(new)
    said = restored(Lookup(IMAGES[5]), new)
    assert "No MLflow store came from the cache" in said
    assert f"MLflow does not know version 5: rebuilt from {IMAGES[5]}" in said
    client = registry.connect(NAME)
    version = client.get_model_version_by_alias(NAME, "champion")
    assert (str(version.version), version.tags["image"]) == ("5", IMAGES[5])
    assert version.tags["inputs_sha256"] == card.inputs_sha256 != ""
    assert version.tags["service_sha256"] == "of the service"
    assert client.get_run(version.run_id).data.metrics == pytest.approx(card.metrics)
    assert [str(v.version) for v in client.search_model_versions(f"name='{NAME}'")] == ["5"]
    production.verify("", version)
    assert "agree: the champion is version 5" in restored(Lookup(IMAGES[5]), new)
    assert str(registry.create_version(client, NAME, version.source, version.run_id, {}).version) == "6"


def test_versions_of_another_past_are_not_mistaken_for_the_champion(
    here: Path, client: MlflowClient, app: Path, docker: Registry
) -> None:
    """A store that counted anew has a version of that number, but of another model; that it goes is said."""
    docker.image(IMAGES[2], app)
    client.set_model_version_tag(NAME, "2", "bundle_sha256", "another")
    said = restored(Lookup(IMAGES[2]), here)
    assert "The versions of" in said
    assert "up to 2, are of another past, and were taken out." in said
    assert [str(v.version) for v in client.search_model_versions(f"name='{NAME}'")] == ["2"]
    assert tags(client, 2)["image"] == IMAGES[2]


def test_the_alias_follows_the_registry(here: Path, client: MlflowClient, app: Path, docker: Registry) -> None:
    """A store that missed a promotion, because it was saved before it, is put right; nothing is registered twice."""
    docker.image(IMAGES[2], app)
    crown(client, 1)
    assert "alias champion now names version 2" in restored(Lookup(IMAGES[2]), here)
    assert champion(client) == "2"
    assert len(client.search_model_versions(f"name='{NAME}'")) == 2
    assert "agree: the champion is version 2" in restored(Lookup(IMAGES[2]), here)


def noted(here: Path) -> Champion:
    return notes.read(here, Champion)


def test_a_store_that_a_newer_mlflow_has_written_is_rebuilt(
    here: Path, app: Path, docker: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a library update was taken back: the champion comes out of its image, and the run goes on."""
    docker.image(IMAGES[1], app)
    docker.set("champion", IMAGES[1])
    with contextlib.closing(sqlite3.connect(here / "mlflow.db")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    assert restore.main(["--repository", REPOSITORY]) == 0
    assert "newer release than MLflow" in capsys.readouterr().out
    assert champion(registry.connect(NAME)) == bundles.read(app / "bundle").card.version


def test_an_artifact_that_is_damaged_is_said(
    here: Path, docker: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the run goes on without it."""
    (here / "mlflow.db").unlink()
    with serving() as github:
        for name, value in github.environment.items():
            monkeypatch.setenv(name, value)
        github.artifact("mlflow", b"no zip")
        github.artifact("mlflow", b"of a run that is gone", workflow_run=None)
        assert restore.main(["--repository", REPOSITORY]) == 0
    assert "left is damaged (File is not a zip file)" in capsys.readouterr().out


def test_a_first_run_restores_nothing(here: Path, docker: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    """And says why; the next stages read the same."""
    assert restore.main(["--repository", REPOSITORY]) == 0
    assert "There is no champion yet." in capsys.readouterr().out
    assert noted(here) == Champion("")


def test_what_is_made_of_the_champion_is_noted(here: Path, app: Path, docker: Registry) -> None:
    """With the labels by which the next stages see whether anything has changed."""
    docker.image(IMAGES[2], app, inputs_sha256="digest")
    docker.set("champion", IMAGES[2])
    assert restore.main(["--repository", REPOSITORY.upper().replace("GHCR.IO", "ghcr.io")]) == 0
    assert noted(here) == Champion(IMAGES[2], inputs="digest")


def test_a_fork_that_sees_no_champion_says_so(
    here: Path, client: MlflowClient, docker: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told neither REGISTRY nor a password, so that nothing is there means nothing."""
    crown(client, 1)
    client.set_model_version_tag(NAME, "1", "image", "registry.example.org/acme/loans@sha256:" + "1" * 64)
    assert restore.main(["--repository", REPOSITORY, "--from", "a fork"]) == 0
    assert noted(here).unseen == "The champion cannot be seen from a fork (not found)"
    assert "cannot be seen from a fork" in capsys.readouterr().out


def test_a_repository_that_was_renamed_does_not_begin_anew(
    here: Path, client: MlflowClient, docker: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its images lie under the old name: the next push would have no baseline. It says how to bring them along."""
    old = "ghcr.io/acme/old@sha256:" + "1" * 64
    crown(client, 1)
    client.set_model_version_tag(NAME, "1", "image", old)
    assert restore.main(["--repository", REPOSITORY]) == 3
    assert f"docker buildx imagetools create --tag {REPOSITORY}:champion {old}" in capsys.readouterr().err


def test_the_store_keeps_the_files_of_what_rollback_goes_back_to(here: Path, app: Path) -> None:
    """The champion, two before it and the newest; of the others what was measured stays, and their images."""
    client = registry.connect(NAME)
    first = client.get_model_version(NAME, "1")
    for number in range(3, 7):
        with registry.run(NAME, "") as run_id:
            registry.log_snapshot(client, run_id, app)
        registry.create_version(client, NAME, "file:///nowhere", run_id, {"bundle_sha256": str(number)})
    for number in range(1, 6):
        crown(client, number, "", replaced=str(number - 1)) if number > 1 else crown(client, number)
    said: list[str] = []
    production.prune(client, client.get_model_version(NAME, "5"), said.append)
    kept = [v for v in range(1, 7) if production.whole(client.get_model_version(NAME, str(v)))]
    assert (kept, said) == ([3, 4, 5, 6], ["Deleted the files of version 1, 2: nothing goes back to them."])
    assert client.get_run(first.run_id).data.metrics
    model = Path(
        client.get_logged_model(first.source.removeprefix("models:/")).artifact_location.removeprefix("file://")
    )
    assert (here in model.parents, model.exists()) == (True, False)


def test_a_champion_of_another_model_stays_out(app: Path, docker: Registry, here: Path, client: MlflowClient) -> None:
    """A project that was renamed begins anew in MLflow; the old image is still the baseline of the load test."""
    docker.image(IMAGES[1], app)
    assert "stays out of MLflow" in restored(Lookup(IMAGES[1]), here, "renamed")
    with pytest.raises(MlflowException):
        client.get_registered_model("renamed")


def retrained(project: Path, *arguments: str, **more: str) -> str:
    given = {"MLOPS_QUALITY__FLOOR": ANYTHING, "MLOPS_QUALITY__TOLERANCE": "1e9", "MLOPS_TRAINING__SEED": "2", **more}
    done = run(project, "training.train", *arguments, **given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def versions(client: MlflowClient) -> list[int]:
    return sorted(int(each.version) for each in client.search_model_versions(f"name='{NAME}'"))


def test_what_is_made_of_the_same_is_not_trained_again(here: Path) -> None:
    """The champion's bundle is taken, and it is the candidate; in a pull request the candidate stays who it is."""
    client = registry.connect(NAME)
    crown(client, 2)
    client.set_registered_model_alias(NAME, registry.CANDIDATE, "1")
    shutil.rmtree(here / "bundle")
    assert "it stays version 2, the champion's" in retrained(here, "--preview", "preview-7")
    assert str(client.get_model_version_by_alias(NAME, registry.CANDIDATE).version) == "1"
    retrained(here)
    assert str(client.get_model_version_by_alias(NAME, registry.CANDIDATE).version) == "2"
    assert versions(client) == [1, 2]
    assert bundles.read(here / "bundle").card.version == "2"
    assert notes.read(here, Model).kept == "2"


def test_what_was_not_promoted_yet_is_not_trained_again_either(here: Path) -> None:
    """Unless it was judged beside another champion than that of today."""
    crown(registry.connect(NAME), 1)
    assert "version 3" in retrained(here, "--force", MLOPS_TRAINING__SEED="3")
    assert "it stays version 3, the candidate's" in retrained(here, MLOPS_TRAINING__SEED="3")
    crown(registry.connect(NAME), 2)
    assert "fit on" in retrained(here, MLOPS_TRAINING__SEED="3")


def test_the_same_model_from_other_code_is_no_other_version(here: Path) -> None:
    """What came out is the champion's to the byte: it stays the version, and the next push does not train again."""
    client = registry.connect(NAME)
    crown(client, 2)
    with (here / "training" / "fit.py").open("a") as file:
        file.write("\n# a comment\n")
    assert "The very same model came out: it stays version 2" in retrained(here)
    assert "Nothing that makes the model has changed: it stays version 2" in retrained(here)
    with (here / "src" / "model" / "data.py").open("a") as file:  # which the service checks
        file.write("\n# a comment\n")
    assert "version 3" in retrained(here)
    assert versions(client) == [1, 2, 3]


@pytest.mark.slow
def test_whatever_makes_the_model_trains_it_anew(here: Path) -> None:
    """Or who asks for it: data, code, libraries, settings, the Python. A change of the service does not."""
    client = registry.connect(NAME)
    crown(client, 2)
    for path in ("serving/service.py", "requirements/serve.txt", "perf/load.py"):
        with (here / path).open("a") as file:
            file.write("\n# a change\n")
    assert "fit on" not in retrained(here) + retrained(here, MLOPS_SERVING__MAX_ROWS="7")
    for path in ("src/model/estimator.py", "training/fit.py", "src/pipeline/columns.py", "requirements/train.txt"):
        text = (here / path).read_text()
        (here / path).write_text(f"{text}\n# a change\n")
        assert "fit on" in retrained(here, MLOPS_PROJECT__DESCRIPTION="Another."), path
        (here / path).write_text(text)
    assert "fit on" in retrained(here, MLOPS_TRAINING__SEED="3")
    before = versions(client)[-1]
    assert "fit on" in retrained(here, "--force")
    assert versions(client)[-1] == before + 1


def test_a_champion_whose_files_are_gone_is_trained_again(here: Path) -> None:
    """And it says why."""
    client = registry.connect(NAME)
    crown(client, 2)
    shutil.rmtree(client.get_run(client.get_model_version(NAME, "2").run_id).info.artifact_uri.removeprefix("file://"))
    assert "trained again, since the files of version 2 cannot be had" in retrained(here)
    assert versions(client) == [1, 2, 3]
