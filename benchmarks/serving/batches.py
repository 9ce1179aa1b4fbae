"""Batches: how long a request with many rows takes, beside the model's own run on the same matrix.

    python -m benchmarks.serving.batches [--rows 1000] [--rounds 60] [--write]

One client, one kept connection, one worker, in turns with the run in this process. Medians.
"""

import argparse
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnxruntime

from benchmarks.serving.environments import ROOT
from benchmarks.serving.run import report, running
from benchmarks.serving.servers import OURS, SERVERS, body
from pipeline import bundle as bundles
from pipeline.columns import MATRIX, derived, from_metadata, packer

SECONDS = Callable[[], float]


def own_run(records: list[dict[str, Any]]) -> tuple[SECONDS, SECONDS]:
    """Two measurements in this process: the model's run on the matrix, and `derive` on the records."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(bundles.read(ROOT / "bundle").model), options)
    columns = from_metadata(session.get_modelmeta().custom_metadata_map)
    if columns is None:
        raise SystemExit("The model of bundle/ takes its columns one by one; train the sample model")
    feed = {MATRIX: packer(columns)(derived(records))}
    return timed(lambda: session.run(None, feed)), timed(lambda: derived(records))


def timed(work: Callable[[], object]) -> SECONDS:
    def measure() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return measure


def tensors(records: list[dict[str, Any]]) -> tuple[bytes, dict[str, str]]:
    """A request of the Open Inference Protocol with binary tensors, a column each; a missing number is NaN."""
    inputs, data = [], b""
    for name in records[0]:
        values = [record[name] for record in records]
        if any(isinstance(value, str) for value in values):
            texts = [(value or "").encode() for value in values]
            part, kind = b"".join(len(text).to_bytes(4, "little") + text for text in texts), "BYTES"
        else:
            part, kind = np.array(values, np.float64).tobytes(), "FP64"
        size = {"binary_data_size": len(part)}
        inputs.append({"name": name, "shape": [len(records)], "datatype": kind, "parameters": size})
        data += part
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    return head + data, {"Inference-Header-Content-Length": str(len(head))}


def posted(connection: http.client.HTTPConnection, path: str, data: bytes, headers: dict[str, str]) -> SECONDS:
    def work() -> None:
        connection.request("POST", path, data, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {content[:300]!r}")

    return timed(work)


def rows(found: dict[str, list[float]], run: str) -> Iterator[list[str]]:
    yield ["", "ms", "of the run"]
    base = statistics.median(found[run])
    for name, times in found.items():
        middle = statistics.median(times)
        yield [name, f"{1000 * middle:.2f}", f"{middle / base:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.batches", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="into benchmarks/serving.md")
    arguments = parser.parse_args()
    lines = (ROOT / "bundle" / "requests.jsonl").read_text().splitlines()
    records = [json.loads(lines[n % len(lines)]) for n in range(arguments.rows)]
    name = bundles.read(ROOT / "bundle").card.name
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "body.json")
        file.write_text(json.dumps(body("instances", records[:1])))
        server = SERVERS[OURS]._replace(more={"WEB_CONCURRENCY": "1"})
        with running(server, {"workers": "1", "body": str(file), "scratch": scratch}) as (url, _, _leader):
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
            json_body = json.dumps(body("instances", records)).encode()
            binary, head = tensors(records)
            run, derive = own_run(records)
            work = {
                "the model's run, in process": run,
                "derive, in process": derive,
                "POST /predict, JSON": posted(connection, "/predict", json_body, {"Content-Type": "application/json"}),
                "Open Inference Protocol, binary tensors": posted(connection, f"/v2/models/{name}/infer", binary, head),
            }
            found: dict[str, list[float]] = {each: [] for each in work}
            for turn in range(arguments.rounds + 5):
                for each, measure in work.items():
                    seconds = measure()
                    if turn >= 5:
                        found[each].append(seconds)
    title = f"{arguments.rows:,} rows in one request, one worker, medians of {arguments.rounds}"
    report("batches", title, list(rows(found, next(iter(work)))), arguments.write)


if __name__ == "__main__":
    main()
