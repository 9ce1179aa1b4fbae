"""gunicorn processes on a folder as an arm."""

import contextlib
import ctypes
import functools
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from perf.arms import usage
from perf.arms.arm import POLL, STOP_TIMEOUT, Arm, Kind, reserved_port, tail
from perf.interrupts import no_interrupt
from pipeline.bundle import SERVED

_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


class ProcessArm(Arm):
    """gunicorn on a folder that holds serving/, src/ and bundle/, in a process group of its own."""

    kind: Kind = "process"
    image = ""  # one that holds what the folder does, where there is one
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        folder = Path(self.source).resolve()
        configuration = ["--config", str(folder / "serving" / "gunicorn.conf.py")]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with no_interrupt(), reserved_port() as reserved, self.log.open("ab") as log:
            port = reserved.getsockname()[1]
            environment = self.environment | {
                "PYTHONPATH": f"{folder}{os.pathsep}{folder / 'src'}",
                "HOST": "127.0.0.1",
                "PORT": str(port),
                "BUNDLE": str(folder / "bundle"),
            }
            self.url = f"http://127.0.0.1:{port}"
            self.started = time.perf_counter()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *configuration, "--bind", f"fd://{reserved.fileno()}"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that the whole group can be ended, and Ctrl-C does not reach it first
                pass_fds=[reserved.fileno()],
                preexec_fn=functools.partial(end_with, os.getpid()),  # noqa: PLW1509  no other thread forks or locks
            )
        if self.cpus.arms is not None:
            # In the first moments of the child, long before it starts its workers, which inherit this.
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(self._process.pid, self.cpus.arms)

    def restart(self) -> None:
        self.stop()
        self.start()

    @no_interrupt()
    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._signal(process, signal.SIGTERM)
        deadline = time.perf_counter() + STOP_TIMEOUT
        while self._signal(process, 0) and time.perf_counter() < deadline:
            time.sleep(POLL)
        self._signal(process, signal.SIGKILL)
        process.wait()

    @staticmethod
    def _signal(process: "subprocess.Popen[bytes]", number: int) -> bool:
        """Signals the whole group; False where nobody of it is left."""
        process.poll()  # a child that ended counts as part of its group until it is waited for
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # macOS, for a group of which only a zombie is left
            return False
        return True

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def logs(self) -> str:
        return tail(self.log.read_bytes()) if self.log.is_file() else ""

    def recorded(self) -> bytes:
        path = Path(self.source) / "bundle" / "requests.jsonl"
        return path.read_bytes() if path.is_file() else b""

    def usage(self) -> usage.Usage | None:
        return usage.of_processes(self._process.pid) if self._process is not None else None

    def identity(self) -> dict[str, str]:
        return {"code_sha256": code_digest(Path(self.source)), "image": self.image}


def code_digest(folder: Path) -> str:
    """One hash for the code that serves from a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for part in SERVED for p in (folder / part).rglob("*.py")):
        digest.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def end_with(gate: int) -> None:
    """In the new process, on Linux: it ends when the gate does, even if nobody could tell it to; its workers follow."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != gate:  # it has ended already
            os._exit(1)
