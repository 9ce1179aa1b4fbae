"""The rules that every workflow keeps, and what the linters of workflows say."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.conftest import ROOT

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"uses: [\w-][\w.-]*/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
OUR_OWN = re.compile(r"uses: \./\.github/workflows/[\w-]+\.yml # zizmor: ignore\[self-repository\] \w+")
GRANT = re.compile(r"^ +([a-z-]+: (?:read|write))\b(?! # \w)", re.MULTILINE)
SECRET = re.compile(r"secrets\.(\w+)")
# In the small hours or at any other, but not on the full hour, when everybody's start and some are dropped.
AT_MOST_NIGHTLY = re.compile(r"[1-9]\d? \d\d? (\* \* [*0-6]|1 \* \*)")
LONGEST = 290  # lines
LONGEST_SCRIPT = 8  # lines; what decides more is Python
# An environment decides who may read a secret. These are for jobs that run on every pull request of the repository.
OUTSIDE_AN_ENVIRONMENT = {
    "REGISTRY_PASSWORD": "each job that pushes or pulls an image",
    "MLFLOW_TRACKING_PASSWORD": "training, which registers every candidate",
    "DATABASE_URL": "training, which reads the data",
    "AWS_ACCESS_KEY_ID": "likewise",
    "AWS_SECRET_ACCESS_KEY": "likewise",
    "AZURE_STORAGE_KEY": "likewise",
    "GITHUB_TOKEN": "every job has one, as far as its permissions go",
}

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def jobs(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text())["jobs"]
    return found


def steps(file: Path) -> list[dict[str, Any]]:
    """All steps of a workflow; a job that calls another workflow has none."""
    return [step for job in jobs(file).values() for step in job.get("steps", [])]


def broken_rules(file: Path) -> list[str]:
    """What a workflow breaks of our own rules, a sentence each."""
    text = file.read_text()
    lines = text.splitlines()
    whole = yaml.safe_load(text)
    starts: dict[str, Any] = whole[True]  # YAML 1.1 reads `on` as a truth value
    uses = [line.strip().removeprefix("- ") for line in lines if re.match(r"\s*(- )?uses:", line)]
    broken = [
        f"not pinned to a commit with its version beside it: {line}"
        for line in uses
        if not PINNED.match(line) and not OUR_OWN.match(line)
    ]
    broken += [f"gives no reason for the grant {grant}" for grant in GRANT.findall(text)]
    broken += [
        f"starts more often than each night, or on the full hour: {each['cron']}"
        for each in starts.get("schedule", [])
        if not AT_MOST_NIGHTLY.fullmatch(each["cron"])
    ]
    if whole.get("permissions") != {}:
        broken.append("does not start from permissions: {}")
    if everywhere := set(SECRET.findall(yaml.safe_dump(whole.get("env", {})))) - set(OUTSIDE_AN_ENVIRONMENT):
        broken.append(f"gives every job {', '.join(sorted(everywhere))}")
    if "concurrency" not in whole:
        broken.append("has no concurrency")
    elif "workflow_call" in starts and "github.workflow" in whole["concurrency"]["group"]:
        broken.append("waits for itself where it is called: github.workflow is the caller there")
    if len(lines) > LONGEST:
        broken.append(f"{len(lines)} lines are more than a reader takes in")
    for name, job in whole["jobs"].items():
        broken += broken_rules_of_job(name, job)
    return broken


def broken_rules_of_job(name: str, job: dict[str, Any]) -> list[str]:
    """Likewise, of one of its jobs."""
    wanted = ("name", "permissions") if "uses" in job else ("name", "permissions", "timeout-minutes")
    broken = [f"{name} has no {key}" for key in wanted if key not in job]
    if job.get("secrets") == "inherit":
        broken.append(f"{name} inherits all secrets")
    if isinstance(grants := job.get("permissions"), str):
        broken.append(f"{name} asks for permissions {grants}, which is more than it needs")
    secrets = set(SECRET.findall(yaml.safe_dump(job))) - set(OUTSIDE_AN_ENVIRONMENT)
    if secrets and "environment" not in job:
        broken.append(f"{name} reads {', '.join(sorted(secrets))} outside an environment")
    for step in job.get("steps", []):
        script = step.get("run", "")
        if "${{" in script:
            broken.append(f"{name} puts an expression into a script; hand it over in env: {script}")
        if len(script.splitlines()) > LONGEST_SCRIPT:
            broken.append(f"{name} has a script of more than {LONGEST_SCRIPT} lines, which should be Python with tests")
        checkout = step.get("uses", "").startswith("actions/checkout@")
        if checkout and step.get("with", {}).get("persist-credentials") is not False:
            broken.append(f"{name} leaves its token in the checkout")
    return broken


@each_file
def test_it_keeps_our_rules(file: Path) -> None:
    """Pins, permissions, secrets, time-outs, schedules, names; short scripts, no expression in one, no token left."""
    assert broken_rules(file) == []


@pytest.mark.parametrize(
    ("name", "found", "replacement", "broken"),
    [
        ("pipeline", r"@[0-9a-f]{40} # v\S+", "@v7", "not pinned to a commit"),
        ("pipeline", r" # v\d\S+", "", "not pinned to a commit"),
        ("pipeline", r"^permissions: \{\}", "permissions: read-all", "does not start from permissions"),
        ("pipeline", r"^concurrency:.*\n(  .*\n)+", "", "has no concurrency"),
        ("pipeline", r"group: pipeline-", "group: ${{ github.workflow }}-", "waits for itself"),
        ("pipeline", r"^env:\n", "env:\n  TOKEN: ${{ secrets.TEMPLATE_TOKEN }}\n", "gives every job TEMPLATE_TOKEN"),
        ("pipeline", r"    timeout-minutes: \d+\n", "", "has no timeout-minutes"),
        ("pipeline", r"    permissions:\n(      .*\n)+", "    permissions: write-all\n", "permissions write-all"),
        ("pipeline", r"(contents: read) #.*", r"\1", "no reason for the grant contents: read"),
        ("pipeline", r"persist-credentials: false", "persist-credentials: true", "leaves its token"),
        ("pipeline", r"run: make lint", 'run: make lint "${{ github.actor }}"', "puts an expression into a script"),
        ("pipeline", r"run: make lint", "run: |\n" + "          true\n" * 9, "a script of more than 8 lines"),
        ("pipeline", r"run: make lint", "run: make lint\n" + "#\n" * 200, "more than a reader takes in"),
        ("retrain", r" # zizmor: ignore\[self-repository\].*", "", "not pinned to a commit"),
        ("retrain", r"    name: .*\n", "", "has no name"),
        ("retrain", r"    secrets:\n(      .*\n)+", "    secrets: inherit\n", "inherits all secrets"),
        ("retrain", r'cron: "\d+ ', 'cron: "0 ', "on the full hour"),
        ("retrain", r'cron: "\d+ ', 'cron: "*/5 ', "more often than each night"),
        ("updates", r"    environment: .*\n", "", "reads TEMPLATE_TOKEN outside an environment"),
    ],
)
def test_a_broken_rule_is_seen(tmp_path: Path, name: str, found: str, replacement: str, broken: str) -> None:
    """Each rule fails on a workflow that breaks it, or the test above would prove nothing."""
    changed, count = re.subn(found, replacement, (FOLDER / f"{name}.yml").read_text(), flags=re.MULTILINE)
    (tmp_path / "changed.yml").write_text(changed)
    assert count
    assert any(sentence for sentence in broken_rules(tmp_path / "changed.yml") if broken in sentence)


@each_file
def test_what_calls_a_workflow_grants_what_it_asks_for(file: Path) -> None:
    """GitHub does not start a workflow that calls one whose jobs ask for more than the caller grants."""
    for name, job in jobs(file).items():
        if job.get("uses", "").startswith("./"):
            called = ROOT / job["uses"]
            assert "workflow_call" in yaml.safe_load(called.read_text())[True], f"{name} calls {called.name}"
            asked = {grant for each in jobs(called).values() for grant in each["permissions"].items()}
            granted = set(job["permissions"].items())
            assert {(key, value) for key, value in asked if not {(key, value), (key, "write")} & granted} == set()


def linter(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    return subprocess.run([program, *arguments], cwd=ROOT, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("zizmor", ["--offline", "--persona=pedantic", ".github"]),
        ("check-jsonschema", ["--builtin-schema", "vendor.github-workflows", *map(str, FILES)]),
        ("check-jsonschema", ["--builtin-schema", "vendor.dependabot", ".github/dependabot.yml"]),
        ("actionlint", [*map(str, FILES)]),
    ],
    ids=["zizmor", "workflows' schema", "dependabot's schema", "actionlint"],
)
def test_the_linters_find_nothing(name: str, arguments: list[str]) -> None:
    """zizmor in its strictest persona, GitHub's own schemas, and actionlint where it is installed."""
    done = linter(name, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_exception_has_a_reason() -> None:
    """What zizmor is told to ignore says why, beside the line."""
    ignored = [line for file in FILES for line in file.read_text().splitlines() if "zizmor: ignore" in line]
    assert [line for line in ignored if not re.search(r"zizmor: ignore\[[\w-]+\] \w+", line)] == []


@each_file
def test_its_scripts_are_sound(file: Path) -> None:
    """shellcheck on every script, as bash runs it on GitHub."""
    for script in [step["run"] for step in steps(file) if "run" in step]:
        program = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or "shellcheck"
        done = subprocess.run([program, "--shell=bash", "-"], input=script, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{script}\n{done.stdout}"


def test_dependabot_waits_before_it_updates() -> None:
    """A release is a week old before it gets in. Python's are not its: it would pin for one Python alone.

    Nor is the base image, since its updater reads no FROM with a variable in it.
    """
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions"}
    assert all(update["cooldown"]["default-days"] >= 7 for update in updates)
