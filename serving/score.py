"""Predictions without a server: records in, predictions out, a JSON object a line.

    python -m serving.score < bundle/requests.jsonl

Uses the bundle that BUNDLE names, else bundle/. Exit code 3: it could not, and the last line says why.
"""

import sys

import msgspec

from pipeline import command
from pipeline.bundle import BundleError
from serving import limits, predictor, validation
from serving.app import ROOT, bundle_folder
from serving.problems import Problem

CHUNK = 1000  # rows at once


def main() -> int:
    try:
        bundle, predict = predictor.load(bundle_folder())
        limit = msgspec.structs.replace(limits.load(ROOT / "pipeline.toml"), max_rows=CHUNK)
        decode = validation.decoder(bundle.contract, limit)
        lines = sys.stdin.buffer.read().splitlines()
        for start in range(0, len(lines), CHUNK):
            records = decode(b'{"instances":[' + b",".join(lines[start : start + CHUNK]) + b"]}")
            sys.stdout.buffer.write(msgspec.json.Encoder().encode_lines(predict(records)))
    except (BundleError, Problem, ValueError) as error:
        print(f"Cannot score: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
