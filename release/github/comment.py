"""Writes what a run of the pipeline found to its pull request, in one comment that later runs change.

    python -m release.github.comment      in a workflow that runs on workflow_run

The pull request is looked up by the commit that ran, at GitHub: nothing that the run left can name another one.
Exit code 0: done, or nothing to do, and it says which; 3: could not be done.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from perf.report.markdown import MARKER
from pipeline import command
from release.github import api as rest
from release.github.api import GitHub
from release.github.explain import FAILED, Run, explain

# At the very end, where only we write: the log of a verdict may hold the same words.
RAN = re.compile(re.escape(MARKER) + r"<!-- run ([0-9]{1,18})\.([0-9]{1,9}) -->\s*\Z")


def pull_requests(github: GitHub, event: Mapping[str, Any]) -> list[int]:
    """The open pull requests whose head is the commit that ran: one, or more from one branch to several others."""
    run, head = event["workflow_run"], event["workflow_run"]["head_repository"]
    branch, found = f"{head['owner']['login']}:{run['head_branch']}", []
    for pull in rest.pages(github, f"{github.path}/pulls", state="open", head=branch):
        repository = pull["head"]["repo"] or {}  # null where the fork is gone
        same = (repository.get("id"), pull["base"]["repo"]["id"]) == (head["id"], event["repository"]["id"])
        if same and pull["head"]["sha"] == run["head_sha"]:
            found.append(int(pull["number"]))
    return found


def put(github: GitHub, number: int, run: Run, text: str) -> str:
    """Writes the comment, or changes the newest one of ours; returns what was done."""
    body, last = {"body": f"{text}\n\n{MARKER}<!-- run {run.id}.{run.attempt} -->"}, None
    for comment in rest.pages(github, f"{github.path}/issues/{number}/comments"):
        author = comment["user"] or {}  # null where the account is gone
        ran = RAN.search(comment["body"] or "")
        # Anybody can write our marker, but not in our name.
        if ran and author.get("login") == rest.BOT and author.get("type") == "Bot":
            last = int(comment["id"]), (int(ran[1]), int(ran[2]))
    if last is None:
        rest.call(github, "POST", f"{github.path}/issues/{number}/comments", json=body)
        return f"Commented on #{number}."
    if last[1] > (run.id, run.attempt):
        return f"Nothing to do: a newer run has commented on #{number} already."
    rest.call(github, "PATCH", f"{github.path}/issues/comments/{last[0]}", json=body)
    return f"Changed the comment on #{number}."


def tell(github: GitHub, event: Mapping[str, Any]) -> str:
    """Comments on the pull request of a `workflow_run` event; returns what was done. Raises GitHubError."""
    run = event["workflow_run"]
    if run["event"] != "pull_request" or run["conclusion"] not in ("success", *FAILED):
        return f"Nothing to do: the run was started by {run['event']}, and ended as {run['conclusion']}."
    if run["head_repository"] is None:
        return "Nothing to do: the fork that it ran for is gone."
    if not (numbers := pull_requests(github, event)):
        return "Nothing to do: no open pull request is at the commit that ran."
    fork = run["head_repository"]["id"] != event["repository"]["id"]
    known = Run(int(run["id"]), int(run["run_attempt"]), run["head_sha"], fork)
    text = explain(github, known)
    return " ".join(put(github, number, known, text) for number in numbers)


if __name__ == "__main__":
    command.end(lambda: rest.report("comment", lambda: tell(rest.connect(os.environ), rest.event(os.environ))))
