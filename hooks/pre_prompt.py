"""Lays the project out in the template folder, before cookiecutter asks anything.

The repository is the project that it generates, so its template folder holds only the files that differ by answer.
cookiecutter (2.4 and later) runs this file in a temporary copy of the repository, where it puts the rest beside them.
`make bake` and `make template-branch` call it with two arguments: the repository, and an empty folder for the result.
"""

import fnmatch
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

SETTINGS = "cookiecutter.json"
TEMPLATE_FOLDER = "{{cookiecutter.project_slug}}"
# cookiecutter makes the folder before pre_gen_project.py sees the answers, so `../elsewhere` must not be a name for it.
LAID_OUT_FOLDER = "{{cookiecutter.__folder}}"
# What the laid-out template still runs. This file is not among them: it has done its work.
LATER_HOOKS = ("hooks/pre_gen_project.py", "hooks/post_gen_project.py")


class LayoutError(Exception):
    """The project cannot be laid out; the message says why and what to do."""


def plan(files: Iterable[str], template_only: Iterable[str]) -> dict[str, str]:
    """Returns where each file goes: {path in the laid-out template: path in the repository}.

    A file that lies in the template folder already wins over the one of the same name in the root.
    """
    own = [PurePosixPath(path) for path in (*template_only, TEMPLATE_FOLDER)]
    paths = sorted(files)
    project = {
        f"{LAID_OUT_FOLDER}/{path}": path
        for path in paths
        if not any(PurePosixPath(path).is_relative_to(folder) for folder in own)
    }
    rendered = {
        f"{LAID_OUT_FOLDER}/{path.removeprefix(TEMPLATE_FOLDER + '/')}": path
        for path in paths
        if path.startswith(TEMPLATE_FOLDER + "/")
    }
    return project | rendered | {path: path for path in LATER_HOOKS}


def laid_out_settings(settings: dict[str, object]) -> dict[str, object]:
    """Returns cookiecutter.json as the laid-out template needs it.

    `_extensions` names none that exists: it is what stops cookiecutter, with a sentence, where this hook did not run.
    """
    return {key: value for key, value in settings.items() if key not in ("_template_only", "_extensions")}


def files_of(repository: Path) -> list[str]:
    """Returns the files that belong to the repository, by path.

    In a Git checkout those that Git tracks and that still lie there, elsewhere those that .gitignore does not name.
    Raises LayoutError where there is a .git and it cannot be asked.
    """
    if (repository / ".git").exists():
        return [path for path in _tracked(repository) if (repository / path).is_file()]
    return _unpacked(repository)


def _tracked(repository: Path) -> list[str]:
    # Variables such as GIT_DIR, set where a Git hook calls cookiecutter, speak of another repository. Set to this one
    # they spare Git's search, which would refuse a folder of another owner or take a submodule for its original.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z"]
    try:
        listed = subprocess.run(command, cwd=repository, env=environment, capture_output=True, check=True)
    except FileNotFoundError:
        raise LayoutError(
            "The template is a Git checkout, so git has to say which files belong to it: install git."
        ) from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
        raise LayoutError(
            f"git cannot list the template's files ({reason}): generate from its Git URL instead."
        ) from None
    if not listed.stdout:
        raise LayoutError("Git tracks no file of the template: git add them first.")
    return [os.fsdecode(path) for path in listed.stdout.split(b"\0") if path]


def _unpacked(repository: Path) -> list[str]:
    ignore = repository / ".gitignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
    patterns = [line for line in lines if line and not line.startswith("#")]
    files = (path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file())
    return [path for path in files if not is_ignored(path, patterns)]


def is_ignored(path: str, patterns: Iterable[str]) -> bool:
    """Says whether one of .gitignore's plain patterns, `name/` anywhere or `/name` at the top, fits the path."""
    parts = path.split("/")
    return any(
        fnmatch.fnmatch(part, pattern.strip("/"))
        for pattern in patterns
        for part in (parts[:1] if pattern.startswith("/") else parts)
    )


def lay_out(repository: Path, target: Path) -> None:
    """Writes the laid-out template of `repository` into the folder `target`; the repository stays as it is."""
    settings = json.loads((repository / SETTINGS).read_text(encoding="utf-8"))
    for destination, source in plan(files_of(repository), settings["_template_only"]).items():
        (target / destination).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository / source, target / destination)
    text = json.dumps(laid_out_settings(settings), indent=2, ensure_ascii=False)
    (target / SETTINGS).write_text(f"{text}\n", encoding="utf-8")


def replace_by_layout(copy: Path) -> None:
    """Turns cookiecutter's temporary copy of the repository into the laid-out template, and into nothing besides.

    The rest may hold a virtual environment, and cookiecutter leaves its copy behind where an answer is rejected.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    if copy.parent.parent != temporary or not copy.parent.name.startswith("cookiecutter"):
        raise LayoutError(
            f"This hook replaces the folder it runs in, and {copy} is no copy that cookiecutter made: call make bake."
        )
    target = Path(tempfile.mkdtemp(dir=copy.parent))
    lay_out(copy, target)
    handler = {"onexc" if sys.version_info >= (3, 12) else "onerror": _delete_anyway}
    for path in copy.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, **handler)
        else:
            path.unlink()
    for path in target.iterdir():
        path.rename(copy / path.name)
    target.rmdir()


def _delete_anyway(delete: Callable[[str], object], path: str, _error: object) -> None:
    """Git makes its objects read-only, and Windows deletes no such file."""
    Path(path).chmod(stat.S_IWRITE)
    delete(path)


def main(arguments: list[str]) -> int:
    try:
        if arguments:
            repository, target = map(Path, arguments)
            lay_out(repository, target)
        else:
            replace_by_layout(Path.cwd().resolve())
    except LayoutError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
