"""Stand-ins for the images that deploy/ names: the same programs, as Debian and Go's modules have them, and BusyBox."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engine.docker.containers import docker

LIBRARY = "/usr/lib/postgresql"
DOCKERFILE = """FROM scratch
COPY tree /
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""
REST = {  # by program: what makes its image like the one that its makers publish
    "caddy": """ENV XDG_DATA_HOME=/data
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
""",
    "prometheus": 'ENTRYPOINT ["prometheus"]\n',
    "versitygw": 'ENTRYPOINT ["versitygw"]\n',
    "postgres": f"""RUN chown -R 70:70 /var && chmod 1777 /tmp
ENV PATH={LIBRARY}/bin:/bin PGDATA=/var/lib/postgresql/data
USER 70
ENTRYPOINT ["/bin/sh", "/bin/start"]
""",
}
POSTGRES = ("postgres", "initdb", "psql", "pg_dump", "pg_restore", "pg_isready")
START = """set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \\
    --encoding=UTF8 --locale=C
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -j postgres
fi
exec postgres -c listen_addresses='*'
"""


def installed(name: str) -> bool:
    """Whether there is what an image of a program is made of."""
    return (
        shutil.which("busybox") is not None and (postgres() if name == "postgres" else shutil.which(name)) is not None
    )


def postgres() -> Path | None:
    """Where Debian's PostgreSQL lies."""
    return next(iter(sorted(Path(LIBRARY).glob("*/bin"))), None)


@contextmanager
def images(folder: Path, compose: Path, names: list[str]) -> Iterator[None]:
    """Makes the images of some programs, as a compose file names them; those that were there stay."""
    made = []
    for name in names:
        image = re.findall(rf"image: (\S*\b{name}:\S+)", compose.read_text())[0]
        if subprocess.run(["docker", "image", "inspect", image], check=False, capture_output=True).returncode == 0:
            continue
        _tree(folder / name / "tree", name)
        (folder / name / "Dockerfile").write_text(DOCKERFILE + REST[name])
        docker("build", "--quiet", "--tag", image, str(folder / name))
        made.append(image)
    try:
        yield
    finally:
        for image in made:
            docker("rmi", "--force", image)


def _tree(tree: Path, name: str) -> None:
    """The programs of an image, with the libraries that they load."""
    for part in ("bin", "etc", "tmp", "var/run/postgresql", "var/lib/postgresql/data"):
        (tree / part).mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox")), tree / "bin" / "busybox")
    (tree / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\n")
    if name != "postgres":
        programs = [shutil.copy(str(shutil.which(name)), tree / "bin" / name)]
    else:
        there = postgres()
        assert there is not None
        programs = [there / each for each in POSTGRES]
        share, ignored = Path("/usr/share/postgresql", there.parent.name), shutil.ignore_patterns("bitcode", "llvmjit*")
        shutil.copytree(there.parent, tree / there.parent.relative_to("/"), ignore=ignored)
        shutil.copytree(share, tree / share.relative_to("/"), ignore=shutil.ignore_patterns("man"))
        (tree / LIBRARY.lstrip("/") / "bin").symlink_to(there)
        (tree / "bin" / "start").write_text(START)
    loaded = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout  # some load none
    for path in set(re.findall(r"(/\S+\.so\S*)", loaded)):
        (tree / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tree / path.lstrip("/"))


def remove(project: str) -> None:
    """Removes whatever a project of compose has left."""
    ours = f"--filter=label=com.docker.compose.project={project}"
    for container in docker("ps", "--all", "--quiet", ours).split():
        docker("rm", "--force", "--volumes", container)
    for kind in ("network", "volume"):
        for name in docker(kind, "ls", "--quiet", ours).split():
            docker(kind, "rm", name)
