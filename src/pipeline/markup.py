"""Words of others in our Markdown, where they mean nothing: no markup, no link, no mention.

Much of what reports print comes from elsewhere: names of columns and classes, model cards, problem details, logs, and a
whole report out of a stranger's pull request.
"""

import re
import unicodedata

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&vert;", "$": "<span>$</span>"}  # $: of a formula
LINKED = re.compile(r"[@#]|:(?=//)|www(?=\.)|gh(?=-)", re.IGNORECASE)  # what GitHub makes links of, escaped or not


def quoted(text: str, limit: int = 200) -> str:
    """Text from elsewhere as a code span that it cannot leave, on one line."""
    line = " ".join(visible(text).split())
    line = line.replace("`", "'").replace("|", "\N{BROKEN BAR}")
    return f"`{line[: limit - 1] + '…' if len(line) > limit else line}`" if line else "unknown"


def fenced(text: str) -> str:
    """Text from elsewhere as a code block that it cannot leave."""
    return "```text\n" + visible(text).replace("`", "'") + "\n```"


def visible(text: str) -> str:
    """Without control characters and those that turn the reading direction, save for line ends."""
    return "".join(c for c in text if c == "\n" or unicodedata.category(c)[0] != "C")


def sentence(text: str) -> str:
    """Our own words, which may carry a few of somebody else's."""
    line = " ".join(visible(text).split())
    safe = "".join(ENTITIES.get(c) or (f"\\{c}" if c in "\\`*_[]~!" else c) for c in line)
    return LINKED.sub("\\g<0>\N{ZERO WIDTH SPACE}", safe)


def folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def listed(texts: list[str]) -> str:
    return "\n".join(f"- {sentence(text)}" for text in texts)


def table(rows: list[list[str]], aligned: str) -> str:
    """Markdown's table. rows: the first names the columns; aligned: l, c or r for each of them."""
    marks = [{"l": "---", "c": ":-:", "r": "--:"}[each] for each in aligned]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], marks, *rows[1:]])
