"""A model of texts, Tf-idf and logistic regression: this service beside the tutorial's way.

    python -m benchmarks.serving.texts [--seconds 4] [--rounds 3] [--longest 1] [--write]

The texts are docstrings of installed libraries, and the model says of which. Nothing is downloaded. Both servers run on
this environment's packages, in turns, with wrk at 8 connections and one text in each request.
"""

import argparse
import ast
import csv
import importlib.util
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import joblib
import mlflow.sklearn

from benchmarks.serving.environments import CACHE, ROOT
from benchmarks.serving.run import Load, report, running, wrk
from benchmarks.serving.servers import OURS, SERVERS, TUTORIAL, Server, body
from pipeline import bundle as bundles

LIBRARIES = ("matplotlib", "mlflow", "numpy", "pandas", "scipy", "sklearn")
MOST = 3000  # texts of one library
PROJECT = CACHE / "texts"
MODEL = PROJECT / "model.joblib"
PARTS = ("src/pipeline", "training", "serving", "requirements", ".python-version")
CONNECTIONS = 8
SHARES = {0.25: "a short text", 0.5: "a middling one", 0.9: "a long one"}  # of texts that are shorter
SETTINGS = """[project]
name = "texts"

[data]
path = "texts.csv"
task = "classification"
target = "library"
text = ["text"]

[quality]
metric = "log_loss"
floor = 9.0
"""
DATA = '"""One text."""\n\n\ndef derive(record):\n    return {"text": record["text"]}\n'
ESTIMATOR = '''"""Tf-idf and logistic regression."""

from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def build(task, seed):
    words = TfidfVectorizer(ngram_range=(1, LONGEST))
    return make_pipeline(make_column_transformer((words, "text")), LogisticRegression(max_iter=300))
'''


def docstrings(library: str) -> Iterator[str]:
    """Those of more than a line, in the order of its files."""
    spec = importlib.util.find_spec(library)
    folder = Path(str(spec and spec.origin)).parent
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = (ast.get_docstring(node) or "").replace("\0", "")
                if "\n" in text:
                    yield text


def train(longest: int) -> None:
    """A project of these texts in the cache, trained. longest: words in an n-gram."""
    shutil.rmtree(PROJECT, ignore_errors=True)
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        (PROJECT / part).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / part, PROJECT / part)
    (PROJECT / "src" / "model").mkdir()
    files = {
        "__init__": '"""A model of texts."""\n',
        "data": DATA,
        "estimator": ESTIMATOR.replace("LONGEST", str(longest)),
    }
    for name, text in files.items():
        (PROJECT / "src" / "model" / f"{name}.py").write_text(text)
    (PROJECT / "pipeline.toml").write_text(SETTINGS)
    with (PROJECT / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["text", "library"])
        for library in LIBRARIES:
            texts = list(docstrings(library))
            lines.writerows([text, library] for text in random.Random(1).sample(texts, min(MOST, len(texts))))  # noqa: S311
    uri = f"sqlite:///{PROJECT / 'mlflow.db'}"
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'src'}", "MLFLOW_TRACKING_URI": uri}
    subprocess.run([sys.executable, "-m", "training.train"], cwd=PROJECT, env=environment, check=True)
    card = bundles.read(PROJECT / "bundle").card
    if card.runtime != "onnx":
        raise SystemExit(f"scikit-learn would serve it: {card.reason}")
    mlflow.set_tracking_uri(uri)
    pipeline = mlflow.sklearn.load_model("models:/texts@candidate")
    joblib.dump(pipeline.named_steps["model"], MODEL)


def servers() -> dict[str, Server]:
    """This service of that project, and the tutorial's way around the estimator that `build` gave."""
    path = {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'src'}"}
    service = ["{python}", "-m", "gunicorn", "--config", str(PROJECT / "serving" / "gunicorn.conf.py")]
    return {
        OURS: Server(service, (), more=path | {"BUNDLE": str(PROJECT / "bundle")}),
        TUTORIAL: SERVERS[TUTORIAL]._replace(needs=(), more={"MODEL": str(MODEL)}),
    }


def measure(server: Server, bodies: dict[str, Path], seconds: int) -> dict[str, Load]:
    """What wrk saw, by the text that it sent."""
    more = {"workers": str(len(os.sched_getaffinity(0))), "body": str(next(iter(bodies.values())))}
    with running(server, more) as (url, _, _leader):
        wrk(url, next(iter(bodies.values())), CONNECTIONS, 2, close=False)  # to warm up
        return {name: wrk(url, file, CONNECTIONS, seconds, close=False) for name, file in bodies.items()}


def rows(found: dict[str, list[dict[str, Load]]]) -> Iterator[list[str]]:
    """A table: heads first."""
    yield [
        "one text in a request",
        *(f"{name}, req/s" for name in found),
        "ratio",
        *(f"{name}, p95 ms" for name in found),
    ]
    for text in found[OURS][0]:
        rps = {name: statistics.median(each[text].rps for each in turns) for name, turns in found.items()}
        p95 = [statistics.median(each[text].p95 for each in turns) for turns in found.values()]
        figures = [f"{rps[OURS] / rps[TUTORIAL]:.1f}", *(f"{value:.2f}" for value in p95)]
        yield [text, *(f"{value:,.0f}" for value in rps.values()), *figures]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.texts", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--longest", type=int, default=1, help="words in an n-gram")
    parser.add_argument("--write", action="store_true", help="into benchmarks/serving.md")
    arguments = parser.parse_args()
    train(arguments.longest)
    with (PROJECT / "texts.csv").open(newline="", encoding="utf-8") as file:
        texts = sorted((line["text"] for line in csv.DictReader(file)), key=len)
    with tempfile.TemporaryDirectory() as scratch:
        bodies = {}
        for share, name in SHARES.items():
            text = texts[int(share * len(texts))]
            file = Path(scratch, f"{share}.json")
            file.write_text(json.dumps(body("instances", [{"text": text}])))
            bodies[f"{name}, {len(text):,} letters"] = file
        found: dict[str, list[dict[str, Load]]] = {name: [] for name in servers()}
        for _ in range(arguments.rounds):
            for name, server in random.sample(list(servers().items()), len(found)):
                found[name].append(measure(server, bodies, arguments.seconds))
    title = f"Tf-idf of n-grams of up to {arguments.longest}, {len(texts):,} texts; {CONNECTIONS} connections"
    report("texts", f"{title}, medians of {arguments.rounds} starts", list(rows(found)), arguments.write)


if __name__ == "__main__":
    main()
