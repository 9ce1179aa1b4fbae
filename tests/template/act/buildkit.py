"""A BuildKit daemon, as docker/setup-buildx-action starts one: it exports layers and attaches SBOM and provenance.

The engine's own builder can do neither. Where the engine has a mirror in Docker Hub's place, the daemon has it as well.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCANNER = Path(__file__).with_name("scanner")
CONFIG = """root = "{folder}/root"
[grpc]
  address = ["unix://{folder}/buildkitd.sock"]
  uid = {user}
[worker.oci]
  enabled = true
  networkMode = "host"
[worker.containerd]
  enabled = false
"""


def mirrors() -> list[str]:
    """Host and port of each registry that the engine asks in Docker Hub's place."""
    asked = ["docker", "info", "--format", "{{json .RegistryConfig.Mirrors}}"]
    found = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout) or []
    return [url.removeprefix("http://").removeprefix("https://").rstrip("/") for url in found]


@contextmanager
def serving_buildkit(folder: Path, registry: str) -> Iterator[Path]:
    """A folder with the socket buildkitd.sock. `registry`: that speaks plain HTTP. Raises RuntimeError with its log.

    It runs as root, by sudo where this is somebody else.
    """
    text = CONFIG.format(folder=folder, user=os.getuid())
    for host in (registry, *mirrors()):
        text += f'[registry."{host}"]\n  http = true\n'
    if mirrors():
        text += f'[registry."docker.io"]\n  mirrors = {json.dumps(mirrors())}\n'
        image = f"{mirrors()[0]}/docker/buildkit-syft-scanner:stable-1"
        for command in (["build", "--quiet", "--tag", image, SCANNER], ["push", "--quiet", image]):
            subprocess.run(["docker", *command], check=True, capture_output=True)
    (folder / "buildkitd.toml").write_text(text)
    program = str(shutil.which("buildkitd"))  # whole, because sudo has a PATH of its own
    sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*sudo, program, "--config", folder / "buildkitd.toml"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(100):
            if (folder / "buildkitd.sock").exists():
                break
            time.sleep(0.1)
        else:
            raise RuntimeError((folder / "log").read_text())
        yield folder
    finally:
        subprocess.run([*sudo, "kill", str(process.pid)], check=False)
        process.wait()
        subprocess.run([*sudo, "rm", "-rf", folder / "root"], check=False)
