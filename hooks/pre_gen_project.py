"""Rejects answers that would not work, with a sentence that says what to type instead. Nothing is generated then."""

import json
import math
import re
import sys

# cookiecutter renders this file before it runs it. The JSON holds no three quotes in a row, and raw keeps its escapes.
ANSWERS = r"""{{ cookiecutter | tojson }}"""

SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
OWNER = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")


def is_positive_number(text: str) -> bool:
    """Says whether `text` is a finite number above zero."""
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and value > 0


def is_line(text: str) -> bool:
    """Says whether `text` is one line that a TOML string and a heading can hold."""
    return bool(text.strip()) and not any(character < " " or "\x7f" <= character <= "\x9f" for character in text)


def problems(answers: dict[str, str]) -> list[str]:
    """Returns a sentence for each answer that would not work."""
    found = []
    slug = answers["project_slug"]
    if not SLUG.fullmatch(slug) or len(slug) > 50:
        found.append(
            f"project_slug {slug!r} cannot name a folder, a model and an image alike: type up to 50 lower-case letters "
            "and digits with single hyphens between them, a letter first, as in loan-default."
        )
    if not OWNER.fullmatch(answers["github_owner"]):
        found.append(
            f"github_owner {answers['github_owner']!r} is no GitHub account: type it as in github.com/your-account, "
            "letters and digits with single hyphens between them."
        )
    if not is_positive_number(answers["p95_ms"]):
        found.append(f"p95_ms {answers['p95_ms']!r} is no latency: type milliseconds above 0, such as 100 or 12.5.")
    found += [
        f"{name} {answers[name]!r} is not one line of text: type at least a word, without line breaks or tabs."
        for name in ("project_name", "description", "author")
        if not is_line(answers[name])
    ]
    return found


def main() -> int:
    found = problems(json.loads(ANSWERS))
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
