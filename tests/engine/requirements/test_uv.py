"""requirements/tool.sh: where pip is told of a mirror or of certificates, uv is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.conftest import ROOT

FILE = "[global]\nindex-url = https://file.invalid/simple\ncert = /etc/file.pem\n"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "https://file.invalid/simple /etc/file.pem"),
        ({"PIP_INDEX_URL": "https://variable.invalid/simple"}, "https://variable.invalid/simple /etc/file.pem"),
        ({"UV_DEFAULT_INDEX": "https://uv.invalid", "SSL_CERT_FILE": "/uv.pem"}, "https://uv.invalid /uv.pem"),
        ({"PIP_CONFIG_FILE": os.devnull}, "none none"),
    ],
    ids=["file", "variable", "uv's own", "nothing"],
)
def test_uv_goes_where_pip_goes(tmp_path: Path, variables: dict[str, str], expected: str) -> None:
    """pip's variable beats pip's file, and uv's own variables beat both."""
    (tmp_path / "pip.conf").write_text(FILE)
    programs = {
        "python": f'exec "{sys.executable}" "$@"',
        "uv": 'echo "${UV_DEFAULT_INDEX:-none} ${SSL_CERT_FILE:-none}" "$@"',
    }
    (tmp_path / "bin").mkdir()
    for name, line in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "SSL_"))}
    done = subprocess.run(
        ["sh", str(ROOT / "requirements" / "tool.sh"), "uv", "pip", "install"],
        env=ours | {"VENV": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{expected} pip install"
