"""Prints the release notes of a version: its section of CHANGELOG.md, which has to be ready for a release.

    make release-notes VERSION=v1.2.0

Exit code 0: printed; 1: CHANGELOG.md is not ready, and the last line says why.
"""

import re
import sys
from datetime import date
from pathlib import Path

VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")
HEADING = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\S+))?[ \t]*$", re.MULTILINE)
LINK = re.compile(r"^\[[^\]]+\]: \S+$", re.MULTILINE)  # those at the end of the file, of versions to comparisons
ENTRY = re.compile(r"^[-*] \S", re.MULTILINE)
# GitHub shows each line break of release notes as one, so a paragraph or an entry becomes one line.
WRAPPED = re.compile(r"(?<=\S)\n[ \t]*(?=[^\s#>|*-])")


class NotReadyError(Exception):
    """CHANGELOG.md does not allow this release; the message says what is to be done."""


def sections(changelog: str) -> list[tuple[str, str, str]]:
    """Name, date (empty where there is none) and text of each section, in the order of the file."""
    headings = list(HEADING.finditer(changelog))
    ends = [*(heading.start() for heading in headings[1:]), len(changelog)]
    return [
        (found["name"], found["date"] or "", LINK.sub("", changelog[found.end() : end]).strip())
        for found, end in zip(headings, ends, strict=True)
    ]


def notes(changelog: str, tag: str) -> str:
    """The notes of the version that a tag names. Raises NotReadyError."""
    if not (named := VERSION.fullmatch(tag)):
        raise NotReadyError(f"{tag!r} is no version such as v1.2.0.")
    found = [(day, text) for name, day, text in sections(changelog) if name == named[1]]
    if len(found) != 1:
        there = "no section" if not found else f"{len(found)} sections"
        raise NotReadyError(f"CHANGELOG.md has {there} of {named[1]}: give it one, ## [{named[1]}] - {date.today()}.")
    ((day, text),) = found
    if not _is_date(day):
        raise NotReadyError(f"The section of {named[1]} needs its date: ## [{named[1]}] - {date.today()}.")
    if not ENTRY.search(text):
        raise NotReadyError(f"The section of {named[1]} is empty: say what users of the template will notice.")
    if any(name.lower() == "unreleased" and ENTRY.search(rest) for name, _, rest in sections(changelog)):
        raise NotReadyError(f"[Unreleased] still has entries: the tag releases them, so move them to {named[1]}.")
    return WRAPPED.sub(" ", text)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def main(arguments: list[str]) -> int:
    try:
        print(notes(Path("CHANGELOG.md").read_text(encoding="utf-8"), *arguments))
    except NotReadyError as error:
        print(f"Not ready for a release. {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
