"""Keeps one issue for a workflow that nobody watches: open and up to date while it fails, closed once it passes.

    python -m release.github.issue --title "Retraining failed" --result failure      in a workflow of GitHub Actions

Exit code 0: done, or nothing to do, and it says which; 3: could not be done.
"""

import argparse
import os

from pipeline import command
from release.github import api as rest
from release.github.api import GitHub
from release.github.comment import BOT
from release.github.explain import Run, explain


def keep(github: GitHub, title: str, result: str, run: Run) -> str:
    """Opens, changes or closes the issue; returns what was done. Raises GitHubError."""
    marker, ours = f"<!-- perf-gate:issue {title} -->", 0
    for each in rest.pages(github, f"{github.path}/issues", state="open", creator=BOT):
        # A pull request is an issue to GitHub as well, but none of ours.
        if "pull_request" not in each and (each["body"] or "").rstrip().endswith(marker):
            ours = ours or int(each["number"])
    issue = f"{github.path}/issues/{ours}"
    if result == "success":
        if not ours:
            return "Nothing to do: it passed, and no issue is open."
        word = f"It passed in [run {run.id}]({run.url(github)})."
        rest.call(github, "POST", f"{issue}/comments", json={"body": word})
        rest.call(github, "PATCH", issue, json={"state": "closed"})
        return f"Closed #{ours}."
    if result != "failure":
        return f"Nothing to do: it was {result}."
    body = f"{explain(github, run)}\n\n{marker}"
    if ours:
        rest.call(github, "PATCH", issue, json={"body": body})
        return f"Brought #{ours} up to date."
    made = rest.call(github, "POST", f"{github.path}/issues", json={"title": title, "body": body})
    return f"Opened #{int(made.json()['number'])}."


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.github.issue", description=__doc__.split("\n")[0])
    parser.add_argument("--title", required=True)
    parser.add_argument("--result", required=True, choices=["success", "failure", "cancelled", "skipped"])
    arguments = parser.parse_args(argv)

    def work() -> str:
        run = Run(int(os.environ["GITHUB_RUN_ID"]), int(os.environ["GITHUB_RUN_ATTEMPT"]), os.environ["GITHUB_SHA"])
        return keep(rest.connect(os.environ), arguments.title, arguments.result, run)

    return rest.report("write the issue", work)


if __name__ == "__main__":
    command.end(main)
