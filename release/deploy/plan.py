"""Through which environments a run of the workflow Deploy goes: staging first, where GitHub has it, then production.

    python -m release.deploy.plan [--digest DIGEST]

Sets the output `environments` of the step: a list as JSON, without those that run the champion already. Exit code 3:
could not be said.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping

from mlflow.exceptions import MlflowException

from pipeline import command
from pipeline.settings import SettingsError, load_settings
from release.deploy import record
from release.github import api as rest
from training import registry

ORDER = ("staging", "production")
NO_ENVIRONMENTS = 404  # of a private repository of a free account


def environments(there: set[str], running: Mapping[str, str], image: str) -> list[str]:
    """Those to go through for an image, in order. there: what GitHub has; running: the image of each."""
    return [each for each in ORDER if (each in there or each == ORDER[-1]) and running.get(each) != image]


def plan(digest: str) -> list[str]:
    """What GitHub, MLflow and the project say. Raises their errors."""
    github = rest.connect(os.environ)
    try:
        there = {str(each["name"]) for each in rest.pages(github, f"{github.path}/environments", "environments")}
    except rest.GitHubError as error:
        if error.status != NO_ENVIRONMENTS:
            raise
        there = set()
    name = load_settings().project.name
    client = registry.connect(name)
    champion = registry.find(client, name, registry.CHAMPION)
    if digest:
        return environments(there, {}, digest)
    running = {key: known.image for key, (_, known) in record.read(client, name).items()}
    return environments(there, running, champion.tags.get("image", "")) if champion else []


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.deploy.plan", description=__doc__.split("\n")[0])
    parser.add_argument("--digest", default="", help="what is to be deployed, whatever runs; none: the champion")
    try:
        wanted = plan(parser.parse_args(argv).digest)
    except (SettingsError, MlflowException, rest.GitHubError, OSError) as error:
        print(f"Cannot say what is to be deployed: {registry.complaint(error)}", file=sys.stderr)
        return 3
    command.output(environments=json.dumps(wanted))
    print(f"To deploy to: {', '.join(wanted)}." if wanted else "Nothing to deploy.")
    return 0


if __name__ == "__main__":
    command.end(main)
