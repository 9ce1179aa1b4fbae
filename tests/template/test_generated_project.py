"""The generated project's own commands, run for real.

With the default answers they are those of this repository, byte for byte, so here it is a project of the other task.
"""

from pathlib import Path

import pytest

from .conftest import Bake, Run, commit_all


@pytest.fixture(name="project", scope="module")
def _project(bake: Bake, run: Run) -> Path:
    """A project as its owner has it after the first commit."""
    answers = {"project_name": "O'Neil's \"Loans\" 🏦", "project_slug": "my-loans", "author": "José <j@example.org>"}
    project = bake(task="regression", **answers).project
    commit_all(project, run)
    return project


@pytest.mark.slow
def test_its_linters_pass(project: Path, run: Run, make: list[str]) -> None:
    """No answer makes a file that the project's own commit hook would refuse."""
    run(*make, "lint", cwd=project)


@pytest.mark.slow
def test_its_tests_pass(project: Path, run: Run, make: list[str]) -> None:
    """They depend neither on the template nor on its default task."""
    # The environment belongs to the outer project and finds the packages of that; these come first.
    run(*make, "test", cwd=project, PYTHONPATH=f"{project}:{project / 'src'}")
