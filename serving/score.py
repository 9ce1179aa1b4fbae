"""Predictions without a server: records in, predictions out, a JSON object a line.

    python -m serving.score < bundle/requests.jsonl

Uses the bundle that BUNDLE names, else bundle/. Exit code 3: it could not, and the last line says why.
"""

import sys

import msgspec

from pipeline import command
from pipeline.bundle import BundleError
from pipeline.settings import load_settings
from serving import predictor, records
from serving.protocols import instances
from serving.replies import Problem
from serving.service import ROOT, bundle_folder

CHUNK = 1000  # rows at once


def main() -> int:
    try:
        settings = load_settings(ROOT)
        limit = msgspec.structs.replace(settings.serving, max_rows=CHUNK)
        bundle, predict = predictor.load(bundle_folder(), settings.training.trusted)
        decode = records.Decoder(bundle.contract, limit).body
        predictions = instances.formatter(bundle.contract.classes)
        lines = sys.stdin.buffer.read().splitlines()
        for start in range(0, len(lines), CHUNK):
            scores = predict(decode(b'{"instances":[' + b",".join(lines[start : start + CHUNK]) + b"]}"))
            sys.stdout.buffer.write(msgspec.json.Encoder().encode_lines(predictions(scores)))
    except (BundleError, Problem, ValueError) as error:
        print(f"Cannot score: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
