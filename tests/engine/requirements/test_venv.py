"""requirements/venv.sh and tool.sh: an environment that moves with its project."""

import shutil
import subprocess
from pathlib import Path

from tests.engine.conftest import ROOT

SCRIPT = "#!/gone/.venv/bin/python\nimport sys, pipeline\nprint(*sys.argv[1:], pipeline.HERE)\n"


def test_the_environment_may_move(tmp_path: Path) -> None:
    """Its Python finds the packages of the project where it is now, wherever it is started; so does a script in it."""
    old, new = tmp_path / "old", tmp_path / "new name"
    for name in (".python-version", "requirements/venv.sh", "requirements/tool.sh", "requirements/uv.txt"):
        (old / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, old / name)
    (old / "src" / "pipeline").mkdir(parents=True)
    (old / "src" / "pipeline" / "__init__.py").write_text("HERE = __file__\n")
    subprocess.run(["sh", "requirements/venv.sh", ".venv"], cwd=old, check=True, capture_output=True)
    (old / ".venv" / "bin" / "tool").write_text(SCRIPT)
    (old / ".venv" / "bin" / "tool").chmod(0o755)
    old.rename(new)
    environment = {"PATH": "/usr/bin:/bin"}
    for command, folder, said in (
        ([".venv/bin/python", "-c", "import pipeline; print(pipeline.HERE)"], new, ""),
        ([str(new / ".venv/bin/python"), "-c", "import pipeline; print(pipeline.HERE)"], tmp_path, ""),
        (["sh", "requirements/tool.sh", "tool", "--check"], new, "--check "),
        (["sh", "requirements/tool.sh", "uv", "--version"], new, "uv "),
    ):
        done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        assert done.stdout.startswith(said + (str(new) if said != "uv " else ""))
