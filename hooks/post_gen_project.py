"""Checks that the project is whole: a template that was not laid out would give five files that run nothing."""

import sys
from pathlib import Path

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


def main() -> int:
    absent = missing(Path.cwd())
    if absent:
        print(
            f"The project is not whole ({', '.join(absent)} not there): generate it again with the template's hooks, "
            "which cookiecutter 2.4 and later run by default, or with cruft --checkout template.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
