"""Containers as arms: of an image, or somebody else's."""

import contextlib
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from perf.arms import usage
from perf.arms.arm import LOG_LINES, STOP_TIMEOUT, Arm, ArmError, Kind, free_port, tail
from perf.interrupts import no_interrupt

LABEL = "mlops.gate"  # of each container that is started here; its value says by whom
PORTS = 5  # that are tried
OF_THIS_MACHINE = {"PATH", "HOME", "TMPDIR"}  # means nothing in a container


class ContainerArm(Arm):
    """A container of an image, read-only and without privileges."""

    kind: Kind = "container"
    _container = ""

    def start(self) -> None:
        if why := missing(self.source):
            raise ArmError(f"The {self.role}: {self.source} cannot be started, because {why}.")
        for left in reversed(range(PORTS)):
            try:
                return self._run(free_port())
            except ArmError as error:
                if not _taken(error) or not left:
                    raise
                self._remove()

    @no_interrupt()
    def _run(self, port: int) -> None:
        options = [f"--env={key}={value}" for key, value in self.environment.items() if key not in OF_THIS_MACHINE]
        if self.cpus.arms is not None:
            options.append(f"--cpuset-cpus={_listed(self.cpus.arms)}")
        self._container = f"gate-{self.role}-{os.getpid()}-{port}"  # before it exists: an interrupt may come any time
        self.url = f"http://127.0.0.1:{port}"
        self.started = time.perf_counter()
        docker(
            *("run", "--detach", "--name", self._container, "--label", f"{LABEL}={owner(os.getpid())}"),
            *("--read-only", "--tmpfs=/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--env", "HOST=0.0.0.0", "--env", "PORT=8000", "--publish", f"127.0.0.1:{port}:8000"),
            *options,
            self.source,
        )

    def restart(self) -> None:
        try:
            docker("stop", "-t", str(int(STOP_TIMEOUT)), self._container)
            self.started = time.perf_counter()
            docker("start", self._container)
        except ArmError as error:
            if not _taken(error) and not _unknown(error):
                raise
            self._renew(error)

    def _renew(self, _: ArmError) -> None:
        """Where the container cannot be started again: its port is somebody else's by now, or it is gone."""
        self._remove()
        self.start()

    @no_interrupt()
    def stop(self) -> None:
        if self._container:
            self._keep_log(self._container)
            self._remove()

    def _remove(self) -> None:
        container, self._container = self._container, ""
        try:
            docker("rm", "--force", "--volumes", container)
        except ArmError as error:
            if not _unknown(error):  # it may never have been made
                self.left = container

    def _keep_log(self, container: str) -> None:
        with contextlib.suppress(ArmError, OSError):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_text(docker("logs", container))

    def alive(self) -> bool:
        try:
            return docker("inspect", "--format", "{{.State.Running}}", self._container).strip() == "true"
        except ArmError as error:
            if not _unknown(error):
                raise  # the engine is gone, and of the container nobody knows
            return False

    def logs(self) -> str:
        try:
            return tail(docker("logs", "--tail", str(LOG_LINES), self._container).encode())
        except ArmError:
            return ""

    def usage(self) -> usage.Usage | None:
        return usage.of_container(self._container)

    def recorded(self) -> bytes:
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(ArmError, OSError):
            docker("cp", f"{self._container}:/app/bundle/requests.jsonl", folder)
            return (Path(folder) / "requests.jsonl").read_bytes()
        return b""

    def image_mb(self) -> float | None:
        image = docker("inspect", "--format", "{{.Image}}", self._container).strip()
        return int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6

    def identity(self) -> dict[str, str]:
        image, image_id = docker("inspect", "--format", "{{.Config.Image}} {{.Image}}", self._container).split()
        return {"image": image, "image_id": image_id}


class AttachedArm(ContainerArm):
    """A container that somebody else started and will stop, as GitHub does with `services:`; `source` is its port.

    It keeps the environment that it was started with, so faults of the shell do not reach it.
    """

    kind: Kind = "attached"
    _cpus_before = ""

    def start(self) -> None:
        port = self.source.removeprefix("service:")
        containers = docker("ps", "--quiet", "--filter", f"publish={port}").split()
        if not containers and (ended := _ended(port)):
            self._container = ended
            raise self.error("ended as soon as it was started")
        if len(containers) != 1:
            raise ArmError(
                f"{len(containers)} running containers publish port {port}; the {self.role} should be the one."
            )
        self._cpus_before = docker("inspect", "--format", "{{.HostConfig.CpusetCpus}}", containers[0]).strip()
        self._container = containers[0]
        self.url = f"http://127.0.0.1:{port}"
        self.started = time.perf_counter()
        if self.cpus.arms is not None:
            docker("update", "--cpuset-cpus", _listed(self.cpus.arms), self._container)

    def faults(self) -> dict[str, str]:
        return {}

    def _renew(self, error: ArmError) -> None:
        raise error  # only who started it can do it again

    @no_interrupt()
    def stop(self) -> None:
        container, self._container = self._container, ""
        if not container:
            return
        self._keep_log(container)
        if self.cpus.arms is not None:
            everything = self._cpus_before or f"0-{(os.cpu_count() or 1) - 1}"  # Docker cannot take a limit away again
            with contextlib.suppress(ArmError):
                docker("update", "--cpuset-cpus", everything, container)


def docker(*arguments: str, timeout: int = 120) -> str:
    """Runs Docker for at most `timeout` seconds; returns what it wrote. Raises ArmError with Docker's last lines."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            start_new_session=True,  # what Ctrl-C ends half-way may leave a container that nobody knows of
        )
    except FileNotFoundError:
        raise ArmError("There is no `docker` on PATH, which an image needs; a folder needs none.") from None
    except subprocess.TimeoutExpired:
        raise ArmError(f"`docker {arguments[0]}` took more than {timeout} s.") from None
    if done.returncode:
        words = " ".join(line for line in done.stderr.splitlines() if "--help" not in line).split() or ["no message"]
        raise ArmError(f"`docker {arguments[0]}` failed: {' '.join(words)[-300:]}", done.stderr[-2000:])
    return done.stdout + (done.stderr if arguments[0] == "logs" else "")


def _ended(port: str) -> str:
    """The newest container that published a port while it ran; empty where there is none."""
    for container in docker("ps", "--quiet", "--all", "--filter", "status=exited").split():
        if f'"HostPort":"{port}"' in docker("inspect", "--format", "{{json .HostConfig.PortBindings}}", container):
            return container
    return ""


def missing(image: str) -> str:
    """Why an image is not here and cannot be pulled; empty where it is here now."""
    try:
        docker("image", "inspect", image)
    except ArmError as error:
        if not _unknown(error):
            return str(error).rstrip(".")
    else:
        return ""
    if image.startswith("sha256:"):
        return "it was built on this machine and is here no more"
    try:
        docker("pull", "--quiet", image)
    except ArmError as error:
        return str(error).rstrip(".")
    return ""


def leftovers() -> list[str]:
    """Removes the containers of gates that were killed; returns a sentence for each. Raises ArmError."""
    removed = []
    listed = docker("ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.Names}}}} {{{{.Label "{LABEL}"}}}}')
    for name, _, label in (line.partition(" ") for line in listed.splitlines()):
        if gone(label):
            with contextlib.suppress(ArmError):  # another run may be at it
                docker("rm", "--force", "--volumes", name)
                removed.append(f"Removed the container {name}, which a run that was killed had left.")
    return removed


def owner(pid: int) -> str:
    """A process, by a name that none has after it; empty where there is no such process.

    Nothing ends a container with a gate that is killed, so a later run has to know whose it was.
    """
    try:  # the start as the kernel counts it: that of the wall clock changes when the clock is set right
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
        try:
            start = f"{psutil.Process(pid).create_time():.0f}"
        except psutil.Error:
            return ""
    return f"{_here()}/{pid}/{start}"


def gone(name: str) -> bool:
    """Whether a process that `owner` named is no more. One that cannot be seen from here is not known to be."""
    here, _, pid = name.rpartition("/")[0].rpartition("/")
    return here == _here() and pid.isdecimal() and owner(int(pid)) != name


def _here() -> str:
    """This machine, and which of the numberings of processes that it may have."""
    namespace = Path("/proc/self/ns/pid")
    return f"{platform.node()}/{namespace.readlink() if namespace.is_symlink() else ''}"


def _taken(error: ArmError) -> bool:
    """Whether Docker could not have a port."""
    return any(words in error.log.lower() for words in ("port is already allocated", "address already in use"))


def _unknown(error: ArmError) -> bool:
    """Whether Docker knows no such container."""
    return "no such" in error.log.lower()


def _listed(cpus: list[int]) -> str:
    return ",".join(str(cpu) for cpu in cpus)
