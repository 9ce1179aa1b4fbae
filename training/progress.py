"""What a person sees of training while it runs: what is under way, how long it took, and notes."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from training.dataset import Say

SILENT = 10.0  # seconds without a line, where there is no terminal to draw on
console = Console(highlight=False, soft_wrap=True)


@contextmanager
def under_way(what: str) -> Iterator[Say]:
    """Shows what is under way, and how long it took. Gives a function that says how far it is."""
    started = said = time.perf_counter()
    with console.status(what) as status:

        def say(how_far: str) -> None:
            nonlocal said
            if console.is_terminal:
                status.update(f"{what}: {how_far}")
            elif time.perf_counter() - said > SILENT:
                said = time.perf_counter()
                console.print(f"  {what}: {how_far} [dim]{said - started:.0f} s[/dim]")

        yield say
    console.print(f"  {what} [dim]{time.perf_counter() - started:.1f} s[/dim]")


def note(sentences: Iterable[str]) -> None:
    for each in sentences:
        console.print(f"[yellow]Note:[/yellow] {escape(each)}.")
