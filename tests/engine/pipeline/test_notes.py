"""pipeline.notes: what one stage wrote, the next reads, or says in one line what to run."""

from pathlib import Path

import pytest

from pipeline.notes import Image, Note, NoteError, read, write
from tests.engine.conftest import run
from training.quality.report import Model

NOTES = [Model(passed=False, sentence="roc_auc is 0.7"), Image("loans:1", "sha256:1", "")]


@pytest.mark.parametrize("note", NOTES, ids=lambda note: type(note).__name__)
def test_a_note_comes_back_as_it_was(tmp_path: Path, note: Note) -> None:
    """In a project that has no folder for it yet."""
    write(tmp_path, note)
    assert read(tmp_path, type(note)) == note


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b'{"image": "loans:1"}', b"[]"])
def test_a_note_that_cannot_be_read_names_the_file_and_the_command(tmp_path: Path, content: bytes | None) -> None:
    """A missing image is not an empty one: nobody shall test or start something else."""
    path = tmp_path / Image.path
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NoteError, match=rf"^{path}: .*`make image`"):
        read(tmp_path, Image)


def test_make_learns_the_id_of_the_image(project: Path) -> None:
    """On a line of its own; where there is none, one line says what to run."""
    done = run(project, "pipeline.notes")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1), done.stderr
    assert "run `make image`" in done.stderr
    write(project, NOTES[1])
    assert run(project, "pipeline.notes").stdout == "sha256:1\n"
