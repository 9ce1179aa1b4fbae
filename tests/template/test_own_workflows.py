"""The template's own workflows: what is skipped when, and the scripts of a release, run for real."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .act.place import NEVER_READY, SLOW
from .conftest import ROOT, Run
from .test_release import CHANGELOG, NOTES

TAG = "v1.2.0"
# "Use this template" copies these workflows: in a private repository they would spend the minutes of its owner.
OUR_OWN = "(github.event.repository.is_template || !github.event.repository.private)"
GH = """#!/bin/sh
[ "$1" = auth ] || { echo "$@" >"$ASKED"; cp notes.md "$ASKED-notes"; }
"""


def jobs(name: str) -> dict[str, dict[str, Any]]:
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["jobs"]
    return found


def test_each_job_has_its_hour() -> None:
    """At night the newest dependencies alone; otherwise everything but them, and all of it is needed to pass."""
    own = jobs("template")
    nightly = {"nightly", "tell"}
    assert own["nightly"]["if"] == "github.event_name == 'schedule' && github.event.repository.is_template"
    assert own["tell"]["if"] == "${{ !cancelled() && needs.nightly.result != 'skipped' }}"
    assert set(own["pass"]["needs"]) == set(own) - nightly - {"pass"}
    by_day = f"github.event_name != 'schedule' && {OUR_OWN}"
    assert own["pass"]["if"] == f"always() && {by_day}"
    assert {own[name]["if"] for name in own["pass"]["needs"]} == {by_day}


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize("result", ["success", "skipped", "failure", "cancelled"])
def test_nothing_but_success_passes(result: str) -> None:
    """A skipped job is no success either. The workflow's own script is run."""
    (step,) = jobs("template")["pass"]["steps"]
    needs = f'{{"test": {{"result": "success"}}, "systems": {{"result": "{result}"}}}}'
    environment = {"NEEDS": needs, "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-e", "-c", step["run"]], env=environment, check=False, capture_output=True)
    assert (done.returncode == 0) == (result == "success")


def test_every_python_that_can_be_chosen_is_tested() -> None:
    """A version that cookiecutter offers and nobody runs would be a promise."""
    choices = yaml.safe_load((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))["python_version"]
    assert set(jobs("template")["test"]["strategy"]["matrix"]["python"]) == set(choices)


def test_what_is_tested_elsewhere_is_there() -> None:
    """The files that Windows and macOS run are named, so a file that was renamed would be missed there alone."""
    (command,) = [step["run"] for step in jobs("template")["systems"]["steps"] if "pytest" in step.get("run", "")]
    paths = [word for word in command.split() if "/" in word]
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.fixture(name="released")
def _released(checkout: Path, run: Run, make: list[str], tmp_path: Path) -> dict[str, str]:
    """A tag on a checkout whose origin is a repository of its own; returns the variables of a workflow there."""
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", tmp_path / "origin", cwd=tmp_path)
    run("git", "remote", "set-url", "origin", tmp_path / "origin", cwd=checkout)
    (checkout / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    run("git", "commit", "--quiet", "--all", f"--message=Release {TAG}", cwd=checkout)
    run("git", "push", "--quiet", "origin", "main", cwd=checkout)
    run("git", "tag", TAG, cwd=checkout)
    programs = {"gh": GH, "make": f'#!/bin/sh\nexec "{shutil.which("make")}" {" ".join(make[1:])} "$@"\n'}
    for name, script in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(script)
        program.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {"GITHUB_REF_NAME": TAG, "PATH": path, "ASKED": str(tmp_path / "asked")}


def scripts(job: str) -> list[str]:
    return [step["run"] for step in jobs("release")[job]["steps"] if "run" in step]


def test_a_tag_on_main_is_published(checkout: Path, run: Run, released: dict[str, str], tmp_path: Path) -> None:
    """The branch for cruft is pushed and the release has its notes; running it again changes nothing."""
    for script in [*scripts("notes"), *scripts("publish"), *scripts("publish")]:
        run("bash", "-e", "-c", script, cwd=checkout, **released)
    tree = run("git", "ls-tree", "--name-only", "template", cwd=tmp_path / "origin").stdout.split()
    assert tree == ["cookiecutter.json", "hooks", "{{cookiecutter.__folder}}"]
    assert run("git", "rev-list", "--count", "template", cwd=tmp_path / "origin").stdout == "1\n"
    assert (tmp_path / "asked").read_text().split()[:3] == ["release", "create", TAG]
    assert (tmp_path / "asked-notes").read_text() == f"{NOTES}\n"


def test_a_tag_beside_main_is_refused(checkout: Path, run: Run, released: dict[str, str]) -> None:
    """Nobody has reviewed what it names."""
    run("git", "commit", "--quiet", "--allow-empty", "--message=Not on main", cwd=checkout)
    printed = run("bash", "-e", "-c", scripts("notes")[-1], cwd=checkout, status=1, **released).stdout
    assert f"The commit of {TAG} is not on main" in printed


@pytest.mark.parametrize("change", [SLOW, NEVER_READY], ids=["slow", "never ready"])
def test_the_service_is_as_the_tests_under_act_change_it(change: tuple[str, str, str]) -> None:
    """Those run for a quarter of an hour before they would say so."""
    path, old, _ = change
    assert (ROOT / path).read_text().count(old) == 1
