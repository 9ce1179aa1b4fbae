"""Where the minutes of a push go: pipeline.yml on this repository under act, from the push to the verdict.

    make bench-workflow

Two pushes of what is committed, with the load profile of pipeline.toml; the second has a champion to be compared with
and warm layers. Only jobs on the way to the verdict run (train, image, load-test), one after the other; on GitHub the
checks run beside them. Prints a table of the second push.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.engine.release.github_server import serving
from tests.template.act.place import Place, serving_registry, shorten_tests

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "octocat/cookiecutter-mlops-gate"
STEP = re.compile(
    r"^\[Pipeline/([^\]]+?)\s*\]\s+✅  Success - Main (make \w+|Build it.*|Measure.*) \[(?:(\d+)m)?([\d.]+)s\]$"
)
LINE = re.compile(r"^\[Pipeline/([^\]]+?)\s*\]")


def table(printed: str, seconds: float) -> str:
    """A row for each step that takes long, and what is left: containers of jobs and services, artifacts, caches."""
    steps = [found for line in printed.splitlines() if (found := STEP.match(line))]
    rows = [(found[1], found[2], 60 * int(found[3] or 0) + float(found[4])) for found in steps]
    rest = seconds - sum(row[2] for row in rows)
    lines = [
        "| job | step | seconds |",
        "|---|---|--:|",
        *(f"| {job} | {step} | {took:.0f} |" for job, step, took in rows),
    ]
    return "\n".join(
        [*lines, f"| | containers, artifacts, caches | {rest:.0f} |", f"| | **all** | **{seconds:.0f}** |"]
    )


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch, serving(REPOSITORY) as github:
        checkout, kept, uv = (Path(scratch, name) for name in ("checkout", "kept", "uv"))
        subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
        shorten_tests(checkout)
        for folder in (kept, uv, storage := Path(scratch, "registry")):
            folder.mkdir()
        with serving_registry(storage) as registry:
            place = Place(checkout, REPOSITORY, registry, github, kept, uv)
            print("The first push, promoted: it is the champion of the second …", flush=True)
            first = place.run("push", "pipeline.yml", "--job", "promote", payload={"ref": "refs/heads/main"})
            if first.status:
                print(first.printed, file=sys.stderr)
                return 3
            print("The second push …", flush=True)
            second = place.run("push", "pipeline.yml", "--job", "load-test", payload={"ref": "refs/heads/main"})
        if second.status:
            print(second.printed, file=sys.stderr)
            return 3
        print(next(line for line in second.said("Load-test").splitlines() if line.startswith("PASS")))
        print(table(second.printed, second.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
