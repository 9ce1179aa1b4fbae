"""What a tag publishes: notes from CHANGELOG.md, and nothing where that is not ready."""

import re
from pathlib import Path

import pytest

from hooks.release_notes import NotReadyError, notes

from .conftest import ROOT, Run

CHANGELOG = """\
# Changelog

## [Unreleased]

## [1.2.0] - 2026-11-30

### Added

- A command that
  takes two lines, `make x`.
- Another.

A paragraph in
two lines.

## [1.1.0] - 2026-10-01

### Fixed

- Something old.

[1.2.0]: https://example.org/compare/v1.1.0...v1.2.0
[1.1.0]: https://example.org/releases/v1.1.0
"""
NOTES = """\
### Added

- A command that takes two lines, `make x`.
- Another.

A paragraph in two lines."""


@pytest.mark.parametrize(("tag", "expected"), [("v1.2.0", NOTES), ("1.1.0", "### Fixed\n\n- Something old.")])
def test_the_notes_are_the_section_of_the_version(tag: str, expected: str) -> None:
    """Its text alone, an entry a line, because GitHub shows line breaks as they are."""
    assert notes(CHANGELOG, tag) == expected


@pytest.mark.parametrize(
    ("found", "replacement", "advice"),
    [
        ("## [1.2.0] - 2026-11-30", "## [1.3.0] - 2026-11-30", "has no section of 1.2.0: give it one, ## [1.2.0] - 2"),
        ("## [1.1.0] - 2026-10-01", "## [1.2.0] - 2026-10-01", "has 2 sections of 1.2.0"),
        ("## [1.2.0] - 2026-11-30", "## [1.2.0]", "needs its date"),
        ("2026-11-30", "2026-11-31", "needs its date"),
        ("2026-11-30", "30.11.2026", "needs its date"),
        ("- A command that\n  takes two lines, `make x`.\n- Another.\n", "", "1.2.0 is empty: say what users"),
        ("## [Unreleased]\n", "## [Unreleased]\n\n- Forgotten.\n", "[Unreleased] still has entries"),
    ],
)
def test_a_changelog_that_is_not_ready_says_what_to_do(found: str, replacement: str, advice: str) -> None:
    """Whoever pushed the tag reads one sentence, and nothing was published."""
    assert found in CHANGELOG
    with pytest.raises(NotReadyError, match=re.escape(advice)):
        notes(CHANGELOG.replace(found, replacement), "v1.2.0")


@pytest.mark.parametrize("tag", ["v1.2", "latest", "v1.2.0-rc.1", "v1.2.0\n", ""])
def test_a_tag_that_is_no_version_is_refused(tag: str) -> None:
    """It is named, and what a version looks like."""
    with pytest.raises(NotReadyError, match=r"is no version such as v1\.2\.0"):
        notes(CHANGELOG, tag)


def test_make_prints_them(checkout: Path, run: Run, make: list[str]) -> None:
    """Nothing but the notes, as the workflow writes them to a file; and a refusal ends with an error."""
    (checkout / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    assert run(*make, "release-notes", "VERSION=v1.2.0", cwd=checkout).stdout == f"{NOTES}\n"
    printed = run(*make, "release-notes", "VERSION=v9.9.9", cwd=checkout, status=2).stdout
    assert printed.startswith("Not ready for a release. CHANGELOG.md has no section of 9.9.9")


def test_our_changelog_can_be_read() -> None:
    """What is not released yet is there to be moved to the next version."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    with pytest.raises(NotReadyError, match=r"no section of 999\.0\.0"):
        notes(text, "v999.0.0")
    released = text.replace("## [Unreleased]", "## [999.0.0] - 2026-11-26")
    assert released != text
    assert notes(released, "v999.0.0").startswith("### ")
