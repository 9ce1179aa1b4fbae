"""Packages of npm, installed by the lock of a folder."""

import shutil
import subprocess
from pathlib import Path


def install(source: Path, target: Path) -> Path:
    """Copies the folder's scripts to `target`, and installs there what they import, where it is not there yet.

    Needs node and npm.
    """
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.suffix in (".json", ".mjs"):
            shutil.copy(file, target)
    lock, done = (source / "package-lock.json").read_bytes(), target / "installed"
    if not done.is_file() or done.read_bytes() != lock:
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=target, check=True)
        done.write_bytes(lock)
    return target
