"""What libraries warn of, in the words of a command: a line each, once, and not beside lines of their code."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def noted(say: Callable[[str], None]) -> Iterator[None]:
    """Hands warnings to `say`, each text once, in one line; scikit-learn's own form looks like a traceback."""
    said = set()

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        text = " ".join(str(message).split())
        line = f"{category.__name__}: {text[:300]}{'…' if len(text) > 300 else ''}"
        if line not in said:
            said.add(line)
            say(line)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
