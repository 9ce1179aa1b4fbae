"""Makes the candidate the champion, if a verdict says that this very candidate passed.

    python -m training.promote [--verdict reports/verdict.json] [--image REFERENCE]

Exit code 0: promoted, and read back; 1: the verdict does not allow it; 3: could not be done.
"""

import argparse
import sys
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from perf.report import Report, ReportError, read_verdict
from pipeline import command
from pipeline.settings import SettingsError, load_settings
from training import registry


class Refused(ValueError):
    """The verdict does not allow this candidate to be promoted."""


def promote(client: MlflowClient, name: str, verdict: Report, image: str) -> str:
    """Moves the alias and tags the version with what was measured; returns the version that the alias then names."""
    candidate = registry.find(client, name, registry.CANDIDATE)
    if candidate is None:
        raise Refused(f"{name} has no candidate; run `make train`")
    version = str(candidate.version)
    judged = verdict.candidate
    if verdict.outcome != "pass":
        raise Refused(f"the verdict on {name} version {judged.version} is {verdict.outcome}: {verdict.headline}")
    if (judged.name, judged.version) != (name, version):
        raise Refused(
            f"the verdict is on {judged.name} version {judged.version}, but the candidate is {name} version {version}; "
            "run `make perf`"
        )
    tags = {"verdict": verdict.outcome, "p95_ms": f"{verdict.p95_ms:.3f}", "image": image or judged.image}
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    client.set_registered_model_alias(name, registry.CHAMPION, version)
    return str(client.get_model_version_by_alias(name, registry.CHAMPION).version)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training.promote", description=__doc__.split("\n")[0])
    parser.add_argument("--verdict", type=Path, default=Path("reports/verdict.json"))
    parser.add_argument("--image", default="", help="the reference, by digest, under which the image can be pulled")
    arguments = parser.parse_args()
    try:
        name = load_settings().project.name
        version = promote(registry.connect(name), name, read_verdict(arguments.verdict), arguments.image)
    except Refused as refusal:
        print(f"Not promoted: {refusal}", file=sys.stderr)
        return 1
    except (SettingsError, ReportError, MlflowException) as error:
        print(f"Cannot promote: {registry.complaint(error)}", file=sys.stderr)
        return 3
    print(f"Promoted: {name}@{registry.CHAMPION} is version {version}. Next: make serve")
    return 0


if __name__ == "__main__":
    command.end(main)
