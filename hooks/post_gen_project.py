"""Checks that the project is whole, and says what comes next (QUIET=1: nothing).

A template that was not laid out would give five files that run nothing.
"""

import json
import os
import sys
from pathlib import Path

# cookiecutter renders this file before it runs it. The JSON holds no three quotes in a row, and raw keeps its escapes.
ANSWERS = r"""{{ cookiecutter | tojson }}"""

# One file of each folder, and those of the root that every command needs.
LANDMARKS = (
    ".github/workflows/pipeline.yml",
    "Dockerfile",
    "Makefile",
    "data/sba_loans.csv",
    "perf/rule/judge.py",
    "pipeline.toml",
    "release/promote.py",
    "requirements/dev.txt",
    "serving/app.py",
    "src/model/estimator.py",
    "src/pipeline/settings.py",
    "tests/test_model.py",
    "training/train.py",
)


def missing(project: Path) -> list[str]:
    """Returns the landmarks that are not in the project."""
    return [path for path in LANDMARKS if not (project / path).is_file()]


def next_steps(project: Path, owner: str, slug: str) -> str:
    """Returns the commands from here to the first verdict on GitHub."""
    return f"""{project.name} is ready. Next:

  cd {project.name}
  git init -b main && git add . && git commit -m "Generate the project"
  make pipeline    # train, register, serve, load-test, judge, promote: a few minutes
  gh repo create {owner}/{slug} --private --source . --push    # and the same runs on GitHub
"""


def main() -> int:
    absent = missing(Path.cwd())
    if absent:
        print(
            f"The project is not whole ({', '.join(absent)} not there): generate it again with the template's hooks, "
            "which cookiecutter 2.4 and later run by default, or with cruft --checkout template.",
            file=sys.stderr,
        )
        return 1
    if not os.environ.get("QUIET"):
        answers = json.loads(ANSWERS)
        print(next_steps(Path.cwd(), answers["github_owner"], answers["project_slug"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
