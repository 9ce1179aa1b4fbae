"""Files that are either whole or not there, and errors that name them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


def replace(path: Path, data: bytes) -> None:
    """Writes a file beside it and renames that. Raises OSError, whose message is one that names the file."""
    part = path.with_name(f".{path.name}.part")
    with named(path):
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def append(path: Path, data: bytes) -> None:
    """Adds all of `data` to the end of a file, or nothing. Raises OSError, whose message is one that names the file."""
    with named(path), path.open("ab", buffering=0) as file:
        before, rest = file.seek(0, 2), memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]  # a disk that gets full takes a part
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Makes a sentence of an error that says the reason alone."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from None
