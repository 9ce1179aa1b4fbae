"""Keeps one issue for a workflow that nobody watches: open and up to date while it fails, closed once it passes.

    python -m release.github.issue --title "Retraining failed" --result failure      in a workflow of GitHub Actions

Exit code 0: done, or nothing to do, and it says which; 3: could not be done.
"""

import argparse
import os

from pipeline import command
from release.github import api as rest
from release.github.api import GitHub
from release.github.explain import Run, explain, stopped

GONE = 410  # the status of a request for issues where a repository has none
CANCELLED = """### ⚠️ The run was cancelled

Of the runs that wait for their turn GitHub keeps the newest. If nobody cancelled it, a push took its place.

**Next:** once that is through, start the workflow again by hand."""


def keep(github: GitHub, title: str, result: str, run: Run) -> str:
    """Opens, changes or closes the issue; returns what was done. Raises GitHubError."""
    try:
        ours = rest.issue_of(github, title)
    except rest.GitHubError as error:
        if error.status == GONE:
            return f"No issue says so, because they are switched off here: it ended as {result}."
        raise
    issue = f"{github.path}/issues/{ours}"
    if result == "success":
        if not ours:
            return "Nothing to do: it passed, and no issue is open."
        word = f"It passed in [run {run.id}]({run.url(github)})."
        rest.call(github, "POST", f"{issue}/comments", json={"body": word})
        rest.call(github, "PATCH", issue, json={"state": "closed"})
        return f"Closed #{ours}."
    if result == "skipped":
        return "Nothing to do: it was skipped."
    jobs = rest.pages(github, f"{github.path}/actions/runs/{run.id}/jobs", "jobs") if result == "cancelled" else ()
    waited = result == "cancelled" and not any(map(stopped, jobs))
    return rest.keep_issue(github, title, CANCELLED if waited else explain(github, run), ours)


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
