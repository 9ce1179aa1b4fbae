"""The rules that every workflow keeps, and what the linters of workflows say."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
LONGEST = 200  # lines

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def jobs(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text())["jobs"]
    return found


def steps(file: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(file).values() for step in job["steps"]]


def broken_rules(file: Path) -> list[str]:
    """What a workflow breaks of our own rules, a sentence each."""
    text = file.read_text()
    lines = text.splitlines()
    whole = yaml.safe_load(text)
    uses = [line.strip().removeprefix("- ") for line in lines if re.match(r"\s*(- )?uses:", line)]
    broken = [f"not pinned to a commit with its version beside it: {line}" for line in uses if not PINNED.match(line)]
    if whole.get("permissions") != {}:
        broken.append("does not start from permissions: {}")
    if "concurrency" not in whole:
        broken.append("has no concurrency")
    if len(lines) > LONGEST:
        broken.append(f"{len(lines)} lines are more than a reader takes in")
    for name, job in whole["jobs"].items():
        missing = [key for key in ("name", "timeout-minutes", "permissions") if key not in job]
        broken += [f"{name} has no {key}" for key in missing]
        broken += [f"{name} inherits all secrets" for _ in range(job.get("secrets") == "inherit")]
        for step in job["steps"]:
            if "${{" in step.get("run", ""):
                broken.append(f"{name} puts an expression into a script; hand it over in env: {step['run']}")
            checkout = step.get("uses", "").startswith("actions/checkout@")
            if checkout and step.get("with", {}).get("persist-credentials") is not False:
                broken.append(f"{name} leaves its token in the checkout")
    return broken


@each_file
def test_it_keeps_our_rules(file: Path) -> None:
    """Pins, permissions, time-outs, names; no expression in a script, no token left in the checkout."""
    assert broken_rules(file) == []


@pytest.mark.parametrize(
    ("found", "replacement", "broken"),
    [
        (r"@[0-9a-f]{40} # v\S+", "@v7", "not pinned to a commit"),
        (r" # v\d\S+", "", "not pinned to a commit"),
        (r"^permissions: \{\}", "permissions: read-all", "does not start from permissions"),
        (r"    timeout-minutes: \d+\n", "", "has no timeout-minutes"),
        (r"persist-credentials: false", "persist-credentials: true", "leaves its token"),
        (r"run: make lint", 'run: make lint "${{ github.actor }}"', "puts an expression into a script"),
    ],
)
def test_a_broken_rule_is_seen(tmp_path: Path, found: str, replacement: str, broken: str) -> None:
    """Each rule fails on a workflow that breaks it, or the test above would prove nothing."""
    changed, count = re.subn(found, replacement, (FOLDER / "pipeline.yml").read_text(), flags=re.MULTILINE)
    (tmp_path / "changed.yml").write_text(changed)
    assert count
    assert any(sentence for sentence in broken_rules(tmp_path / "changed.yml") if broken in sentence)


def test_what_is_measured_is_what_was_built() -> None:
    """Both services come by digest from the job that pushed them, and the same digest is promoted."""
    pipeline = jobs(FOLDER / "pipeline.yml")
    images = {name: service["image"] for name, service in pipeline["load-test"]["services"].items()}
    assert images == {
        "candidate": "${{ needs.image.outputs.image }}",
        "baseline": "${{ needs.image.outputs.champion }}",
    }
    environments = [step.get("env", {}) for step in pipeline["promote"]["steps"]]
    assert [env["IMAGE"] for env in environments if "IMAGE" in env] == ["${{ needs.image.outputs.image }}"]


def test_only_a_pass_on_main_is_promoted() -> None:
    """Promotion wants main, the checks, and exit code 0 of the gate; 2 leaves a job that succeeded."""
    promote = jobs(FOLDER / "pipeline.yml")["promote"]
    assert set(promote["needs"]) >= {"checks", "image", "load-test"}
    assert promote["if"] == "github.ref == 'refs/heads/main' && needs.load-test.outputs.code == '0'"


@pytest.mark.parametrize(
    ("on_main", "results", "passes"),
    [
        (False, ["success", "success", "skipped"], True),  # a fork's pull request, or any other branch
        (True, ["success", "success", "success"], True),
        (True, ["success", "success", "skipped"], False),  # an inconclusive gate: nothing was promoted
        (False, ["success", "failure", "skipped"], False),
        (False, ["success", "cancelled", "skipped"], False),
        (True, ["failure", "skipped", "skipped"], False),
    ],
)
def test_the_one_required_check(on_main: bool, results: list[str], passes: bool) -> None:
    """Skipped jobs are a success on a branch, and none on main. The workflow's own script is run."""
    if shutil.which("jq") is None:
        pytest.skip("needs jq")
    job = jobs(FOLDER / "pipeline.yml")["pass"]
    assert job["if"] == "always()"
    assert set(job["needs"]) == set(jobs(FOLDER / "pipeline.yml")) - {"pass", "comment"}
    (step,) = job["steps"]
    choice = re.fullmatch(r"\$\{\{ github.ref == 'refs/heads/main' && '(.+)' \|\| '(.+)' \}\}", step["env"]["PASSING"])
    assert choice
    needs = ", ".join(f'"job{n}": {{"result": "{result}"}}' for n, result in enumerate(results))
    environment = {"NEEDS": f"{{{needs}}}", "PASSING": choice[1] if on_main else choice[2], "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-e", "-c", step["run"]], env=environment, check=False, capture_output=True)
    assert (done.returncode == 0) == passes


def test_the_token_that_comments_sees_no_code() -> None:
    """The job that may write to pull requests neither checks out nor runs anything of theirs."""
    comment = jobs(FOLDER / "pipeline.yml")["comment"]
    assert list(comment["permissions"]) == ["pull-requests"]
    assert [step["uses"].split("@")[0] for step in comment["steps"] if "uses" in step] == ["actions/download-artifact"]
    assert [step["run"].split()[0] for step in comment["steps"] if "run" in step] == ["gh"]


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
    scripts = [step["run"] for step in steps(file) if "run" in step]
    assert scripts
    for script in scripts:
        program = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or "shellcheck"
        done = subprocess.run([program, "--shell=bash", "-"], input=script, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{script}\n{done.stdout}"


def test_dependabot_waits_before_it_updates() -> None:
    """Every ecosystem of ours is watched, and a release is a week old before it gets in."""
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "pip", "docker"}
    assert all(update["cooldown"]["default-days"] >= 7 for update in updates)
