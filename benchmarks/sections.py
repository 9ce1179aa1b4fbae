"""Parts of documents that a benchmark writes."""

from collections.abc import Sequence
from pathlib import Path

END = "<!-- to here -->\n"


def replaced(text: str, command: str, found: str) -> str:
    """A document with the part that a command writes, between its two marks. Raises ValueError without them."""
    begin = f"<!-- {command}: from here -->\n"
    before, rest = text.split(begin)
    return f"{before}{begin}{found}{END}{rest.partition(END)[2]}"


def write(path: Path, command: str, found: str) -> None:
    """Writes that part into the file."""
    path.write_text(replaced(path.read_text("utf-8"), command, found), encoding="utf-8")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    lines = [heads, ["---", *(["--:"] * (len(heads) - 1))], *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)
