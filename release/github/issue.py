"""Keeps one issue for a workflow that nobody watches: open and up to date while it fails, closed once it passes.

    python -m release.github.issue --title "Retraining failed" --result failure      in a workflow of GitHub Actions

Exit code 0: done, or nothing to do, and it says which; 3: could not be done.
"""

import argparse
import os
import sys
from typing import Any

from pipeline import command
from release.github import api as rest
from release.github.api import GitHub, GitHubError
from release.github.comment import BOT
from release.github.explain import Run, explain


def marker(title: str) -> str:
    return f"<!-- perf-gate:issue {title} -->"


def open_issue(github: GitHub, title: str) -> dict[str, Any] | None:
    """The open issue of ours with a title; a pull request is an issue to GitHub, but none of ours."""
    for issue in rest.pages(github, f"{github.path}/issues", state="open", creator=BOT):
        if "pull_request" not in issue and (issue["body"] or "").rstrip().endswith(marker(title)):
            return issue
    return None


def keep(github: GitHub, title: str, result: str, run: Run) -> str:
    """Opens, changes or closes the issue; returns what was done. Raises GitHubError."""
    there = open_issue(github, title)
    number = int(there["number"]) if there else 0
    if result == "success":
        if not number:
            return "Nothing to do: it passed, and no issue is open."
        passed = {"body": f"It passed in [run {run.id}]({run.url})."}
        rest.call(github, "POST", f"{github.path}/issues/{number}/comments", json=passed)
        rest.call(github, "PATCH", f"{github.path}/issues/{number}", json={"state": "closed"})
        return f"Closed #{number}."
    if result != "failure":
        return f"Nothing to do: it was {result}."
    body = f"{explain(github, run)}\n\n{marker(title)}"
    if number:
        rest.call(github, "PATCH", f"{github.path}/issues/{number}", json={"body": body})
        return f"Brought #{number} up to date."
    made = rest.call(github, "POST", f"{github.path}/issues", json={"title": title, "body": body})
    return f"Opened #{int(made.json()['number'])}."


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m release.github.issue", description="Keep one issue for a failing workflow."
    )
    parser.add_argument("--title", required=True)
    parser.add_argument("--result", required=True, choices=["success", "failure", "cancelled", "skipped"])
    arguments = parser.parse_args(argv)
    try:
        github, number = rest.connect(os.environ), int(os.environ["GITHUB_RUN_ID"])
        server = os.environ.get("GITHUB_SERVER_URL") or "https://github.com"
        url = f"{server}/{github.repository}/actions/runs/{number}"
        run = Run(number, int(os.environ.get("GITHUB_RUN_ATTEMPT", "1")), os.environ.get("GITHUB_SHA", ""), url)
        print(keep(github, arguments.title, arguments.result, run))
    except GitHubError as error:
        print(f"Cannot write the issue: {error}", file=sys.stderr)
        return 3
    except (KeyError, TypeError, ValueError) as error:
        print(
            f"Cannot write the issue: GITHUB_RUN_ID or GitHub's answer is not as it should be "
            f"({type(error).__name__}: {error})",
            file=sys.stderr,
        )
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
