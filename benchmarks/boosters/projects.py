"""The sample project with other models: a copy of it in .cache/bench for each, trained once."""

import os
import subprocess
import sys
from pathlib import Path

import joblib
import mlflow.sklearn

from benchmarks.serving.environments import CACHE, ROOT
from pipeline import bundle as bundles

COLUMNS = """from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder


def build(task, seed):
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    texts = make_column_selector(dtype_exclude="number")
    columns = make_column_transformer((codes, texts), remainder="passthrough")
    return make_pipeline(columns, {model})
"""
TEXTS = """
def build(task, seed):
    texts = ["State", "Bank", "BankState", "RevLineCr", "LowDoc", "Sector"]
    return CatBoostClassifier(cat_features=texts, {options})
"""
QUIET = "iterations=200, verbose=0, allow_writing_files=False, random_seed=seed"
# As many trees each, all else as the library has it; but LightGBM would take all CPUs for one row, in each worker.
ESTIMATORS = {
    "LightGBM": "from lightgbm import LGBMClassifier\n"
    + COLUMNS.format(model="LGBMClassifier(n_estimators=200, n_jobs=1, verbose=-1, random_state=seed)"),
    "XGBoost": "from xgboost import XGBClassifier\n"
    + COLUMNS.format(model="XGBClassifier(n_estimators=200, random_state=seed)"),
    "CatBoost": "from catboost import CatBoostClassifier\n" + COLUMNS.format(model=f"CatBoostClassifier({QUIET})"),
    "CatBoost, cat_features": "from catboost import CatBoostClassifier\n\n" + TEXTS.format(options=QUIET),
}
PACKAGES = {"LightGBM": "lightgbm", "XGBoost": "xgboost-cpu", "CatBoost": "catboost"}


def package(name: str) -> str:
    """The package of a model's library."""
    return PACKAGES[name.partition(",")[0]]


def project(name: str) -> Path:
    """A trained project, with what peers load in model.joblib; trained again where anything has changed."""
    folder = CACHE / "boosters" / name.replace(", ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    files = subprocess.run(
        ["git", "ls-files", "src", "training", "serving", "data", "requirements", "pipeline.toml", ".python-version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes((ROOT / file).read_bytes())
    (folder / "src" / "model" / "estimator.py").write_text(ESTIMATORS[name])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLOPS_", "MLFLOW_"))}
    environment["PYTHONPATH"] = f"{folder}{os.pathsep}{folder / 'src'}"
    subprocess.run([sys.executable, "-m", "training.train"], cwd=folder, env=environment, check=True)
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    model = mlflow.sklearn.load_model(f"models:/{bundles.read(folder / 'bundle').card.name}@candidate")
    joblib.dump(model, folder / "model.joblib")
    return folder
