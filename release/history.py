"""Draws p95 over all versions that were ever promoted, and says where it shifted.

    make perf-history
    python -m release.history [--output reports]

Writes history.html and history.png. Exit code 0: written; 3: could not be done, and the last line says why.
"""

import argparse
import sys
from pathlib import Path

from mlflow.exceptions import MlflowException

from pipeline import command
from pipeline.settings import SettingsError, load_settings
from release import chain, trend
from release.history_page import page, picture
from training import registry


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.history", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("reports"))
    output = parser.parse_args(argv).output
    try:
        name = load_settings().project.name
        client = registry.connect(name)
        history = chain.read(client.search_model_versions(f"name='{name}'"))
        if not history:
            print(
                f"Cannot draw a history: no version of {name} was ever promoted; run `make pipeline`", file=sys.stderr
            )
            return 3
        champion = registry.find(client, name, registry.CHAMPION)
        found = trend.look(name, history, str(champion.version) if champion else "")
        output.mkdir(parents=True, exist_ok=True)
        html, png = output / "history.html", output / "history.png"
        html.write_text(page(found), encoding="utf-8")
        picture(found, png)
    except (SettingsError, MlflowException, OSError) as error:
        print(f"Cannot draw a history: {registry.complaint(error)}", file=sys.stderr)
        return 3
    print(" ".join(trend.drifts(found)) or trend.headline(found) + ".")
    print(" ".join(trend.shifts(found)))
    print(f"Written: {html}, {png}")
    return 0


if __name__ == "__main__":
    command.end(main)
