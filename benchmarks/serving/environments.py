"""An environment for each set of packages that peers need, made once in .cache/bench."""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import joblib
import mlflow.sklearn
import msgspec
import skops.io

from benchmarks.serving.servers import Server
from pipeline import bundle as bundles
from pipeline.settings import load_settings

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "bench"
MODEL = CACHE / "model.joblib"
VERSIONS = {
    "sklearn": importlib.metadata.version("scikit-learn"),
    "onnxruntime": importlib.metadata.version("onnxruntime"),
    "mlflow_version": importlib.metadata.version("mlflow-skinny"),
}


def export_model() -> str:
    """Writes the registered pipeline for the peers to load; its address in MLflow."""
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{ROOT / 'mlflow.db'}")
    address = f"models:/{load_settings(ROOT).project.name}@candidate"
    CACHE.mkdir(parents=True, exist_ok=True)
    joblib.dump(mlflow.sklearn.load_model(address), MODEL)
    return address


def sklearn_bundle() -> Path:
    """The project's bundle with the same model for scikit-learn to serve, as where ONNX cannot."""
    given, folder = bundles.read(ROOT / "bundle"), CACHE / "sklearn-bundle"
    files = {name: (ROOT / "bundle" / name).read_bytes() for name in (bundles.CONTRACT, bundles.REQUESTS)}
    files[bundles.MODELS["sklearn"]] = skops.io.dumps(joblib.load(MODEL).named_steps["model"])
    hashes = {name: bundles.sha256(data) for name, data in files.items()}
    changed = {"runtime": "sklearn", "reason": "a benchmark", "files": hashes, "bundle_sha256": bundles.digest(hashes)}
    bundles.write(folder, files, msgspec.structs.replace(given.card, **changed))
    return folder


def python_for(server: Server) -> Path:
    """The interpreter of a server's environment, made where it is not there yet. Raises SystemExit where it fails."""
    if not server.needs:
        return Path(sys.executable)
    needs = [need.format(**VERSIONS) for need in server.needs]
    named = "".join((ROOT / need).read_text() if need.endswith(".txt") else "" for need in needs)
    folder = CACHE / hashlib.sha256((" ".join(sorted(needs)) + named).encode()).hexdigest()[:12]
    python = folder / "bin" / "python"
    if not (folder / ".made").exists():
        print(f"Installing {', '.join(needs)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        uv = [
            "sh",
            str(ROOT / "requirements" / "tool.sh"),
            "uv",
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            str(python),
        ]
        done = subprocess.run(
            [*uv, *needs], check=False, cwd=ROOT, env={**os.environ, "VENV": str(Path(sys.executable).parents[1])}
        )
        if done.returncode:
            raise SystemExit(f"{', '.join(needs)}: not installed")
        (folder / ".made").touch()
    return python


def size(server: Server) -> float:
    """Megabytes that a server's packages take, without pip and without bytecode."""
    lib = python_for(server).parents[1] / "lib"
    files = (each for each in lib.rglob("*") if each.is_file() and not {"pip", "__pycache__"} & set(each.parts))
    return sum(each.stat().st_size for each in files) / 1e6
