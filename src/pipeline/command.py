"""How a command of the project ends, and what it leaves for a workflow that has called it."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


def end(main: Callable[[], int]) -> NoReturn:
    """Runs `main` and ends the process with its exit code. What nobody foresaw is a 3, "could not run".

    Python's own 1 would say that the model, the verdict or the candidate was refused.
    """
    try:
        code = main()
    except Exception:
        traceback.print_exc()
        code = 3
    sys.exit(code)


def output(**values: str) -> None:
    """Sets the outputs of the step, each on one line. Outside of a workflow nothing happens."""
    _append("GITHUB_OUTPUT", "".join(f"{name}={' '.join(value.split())}\n" for name, value in values.items()))


def summary(markdown: str) -> None:
    """Adds to the summary of the run. Outside of a workflow nothing happens."""
    _append("GITHUB_STEP_SUMMARY", f"{markdown}\n\n" if markdown else "")


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
