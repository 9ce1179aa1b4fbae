"""What one stage leaves for the next: JSON files, each with one schema and one place.

    python -m pipeline.notes

That prints the id of the image that `make image` built last. Exit code 3: there is none.
"""

import sys
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

import msgspec


class NoteError(ValueError):
    """A note is missing or damaged; the message names the file and the command that writes it."""


class Note(msgspec.Struct, frozen=True):  # of a newer release it may say more
    path: ClassVar[Path]  # from the project's root
    command: ClassVar[str]  # that writes it


class Image(Note, frozen=True):
    """The image that serves bundle/."""

    path, command = Path(".mlops/image.json"), "make image"
    image: str  # a reference that can be run
    id: str
    repository: str  # empty: it was not pushed


class Champion(Note, frozen=True):
    """What the registry's tag champion names, as far as this run may see it."""

    path, command = Path(".mlops/champion.json"), "make restore"
    image: str  # by digest; empty: there is none, or it cannot be seen
    unseen: str = ""  # why it cannot be seen; empty: the registry has said that there is none
    inputs: str = ""  # its labels: pipeline.bundle.service_inputs
    revision: str = ""  # and the commit
    left: str = ""  # pipeline.bundle.service_inputs of the image that was rolled back last


class Changes(Note, frozen=True):
    """What a push has changed of what is in production, a sentence each, and so what it takes to judge it."""

    path, command = Path("reports/changes.json"), "make changes"
    measure: bool  # false: the service is the champion's
    sentences: Annotated[list[Annotated[str, msgspec.Meta(max_length=500)]], msgspec.Meta(max_length=10)]


class Deployment(Note, frozen=True):
    """How the last `make deploy` ended."""

    path, command = Path("reports/deployment.json"), "make deploy"
    environment: Annotated[str, msgspec.Meta(max_length=100)]
    passed: bool
    sentence: Annotated[str, msgspec.Meta(max_length=2000)]


class Baseline(Note, frozen=True):
    """What the candidate is compared with, as it was laid out."""

    path, command = Path(".mlops/baseline.json"), "python -m release.baseline"
    base: str  # what BASE named; empty: the champion
    what: str  # that is, for the reader, such as "version 3"
    image: str  # empty: there is none
    folder: str  # with its serving/, src/ and bundle/, from the project's root; empty: there is none


class New(Note, frozen=True):
    """sha256 of what was written for the data file, by name: what is other today, a person has edited."""

    path, command = Path("data/new.json"), "make new"  # in Git, so that it is known in every clone
    pieces: dict[str, str]
    data: str = ""  # the data file


N = TypeVar("N", bound=Note)


def write(root: Path, note: Note) -> None:
    path = root / note.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(note), indent=2) + b"\n")


def read(root: Path, kind: type[N]) -> N:
    """The note of a kind in the project `root`. Raises NoteError."""
    path = root / kind.path
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise NoteError(f"{path}: no such file; run `{kind.command}`") from None
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise NoteError(f"{path}: not what `{kind.command}` writes ({error}); run it again") from None


def main() -> int:
    try:
        print(read(Path(), Image).id)
    except NoteError as error:
        print(f"Cannot name the image: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
