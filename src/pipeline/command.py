"""How a command of the project ends: with an exit code that means what its docstring says."""

import sys
import traceback
from collections.abc import Callable
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
