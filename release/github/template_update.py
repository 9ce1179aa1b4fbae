"""Brings the project up to date with the template it was generated from, as a pull request.

    python -m release.github.template_update

In a workflow, with a GITHUB_TOKEN that may change workflows. cruft merges; where it cannot, it leaves conflict markers
or a .rej file, and the pull request lists them. Only a project that cruft generated can be updated. Exit code 0: opened
or changed, or nothing to do, and it says which; 3: could not be done.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline import command
from release.github import api as rest

BRANCH = "template-update"
TITLE = "Update from the template"
NAME, EMAIL = "github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # cruft prints it in a workflow of GitHub Actions
LISTED = 100  # conflicts; GitHub takes 65,536 characters


class UpdateError(rest.GitHubError):
    """The project cannot be updated; the message says why and what to do."""


class Origin(NamedTuple):
    """Where a project comes from, as cruft notes it in .cruft.json."""

    template: str
    checkout: str  # the branch of the template that the project follows
    commit: str


def run(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What a command printed. Raises UpdateError with what says why it failed."""
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, errors="replace", env=environment)
    if done.returncode:
        words = COLOUR.sub("", done.stderr).strip() or COLOUR.sub("", done.stdout).strip() or "no message"
        _, framed, message = words.rpartition("╯")  # cruft frames its traceback, and its message follows
        reason = next((line for line in words.splitlines() if "rejected]" in line), words.splitlines()[-1])
        reason = " ".join((message if framed else reason).split())
        raise UpdateError(f"`{' '.join(Path(word).name for word in arguments[:3])}` failed: {reason[:500]}")
    return done.stdout


def origin() -> Origin:
    """What the project's .cruft.json says. Raises UpdateError."""
    try:
        note = json.loads(Path(".cruft.json").read_text(encoding="utf-8"))
        return Origin(str(note["template"]), str(note.get("checkout") or "template"), str(note["commit"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        why = "is missing or damaged; `cruft link` makes one"
        raise UpdateError(f".cruft.json, in which cruft notes where a project comes from, {why}") from None


def body(before: Origin, after: Origin, conflicts: list[str]) -> str:
    """What the pull request says."""
    text = f"What the template has changed since `{before.commit[:10]}`, up to `{after.commit[:10]}`"
    if after.template.startswith("https://github.com/"):
        text += f" ([compare]({after.template.removesuffix('.git')}/compare/{before.commit}...{after.commit}))"
    if not conflicts:
        return f"{text}. Nothing conflicts with your own changes."
    text += (
        ". **Some of it conflicts with your own changes.** These files hold both sides between conflict markers, or, "
        "if their name ends in .rej, what could not be applied: choose, then remove the markers and the .rej files.\n"
    )
    more = [f"- and {len(conflicts) - LISTED} more"] if len(conflicts) > LISTED else []
    return "\n".join([text, *(f"- `{path}`" for path in conflicts[:LISTED]), *more])


def commit(before: Origin, after: Origin) -> str:
    """Commits everything, and returns the commit: the same one again where main and the template are the same again."""
    date = run("git", "log", "-1", "--format=%cI").strip()
    message = f"{TITLE}\n\nFrom {before.commit} to {after.commit}."
    run("git", "add", "--all")
    run("git", "checkout", "--quiet", "-B", BRANCH)
    commit = ("-c", f"user.name={NAME}", "-c", f"user.email={EMAIL}", "commit", "--quiet", "--no-verify")
    run("git", *commit, f"--date={date}", "-m", message, environment={**os.environ, "GIT_COMMITTER_DATE": date})
    return run("git", "rev-parse", "HEAD").strip()


def push(made: str, environment: Mapping[str, str]) -> bool:
    """Puts the commit on the branch; False where others have worked on it, which must not be lost."""
    # With the token in no argument and in no file.
    token = base64.b64encode(f"x-access-token:{environment['GITHUB_TOKEN']}".encode()).decode()
    server = environment.get("GITHUB_SERVER_URL") or "https://github.com"
    git = dict(environment) | {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": "1"}
    git |= {"GIT_CONFIG_KEY_0": f"http.{server}/.extraheader", "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {token}"}
    reference = f"refs/heads/{BRANCH}"
    tip = run("git", "ls-remote", "origin", reference, environment=git).partition("\t")[0]
    if tip == made:
        return True
    if tip:
        run("git", "fetch", "--quiet", "origin", reference, environment=git)
        if run("git", "log", "-1", "--format=%ce", tip).strip() != EMAIL:
            return False
    lease = f"--force-with-lease={reference}:{tip}"
    run("git", "push", "--quiet", lease, "origin", f"{made}:{reference}", environment=git)
    return True


def update(environment: Mapping[str, str]) -> str:
    """Returns what was done. Raises UpdateError or GitHubError."""
    before, base = origin(), run("git", "branch", "--show-current").strip()
    if not environment.get("GITHUB_TOKEN"):
        raise UpdateError("the secret TEMPLATE_TOKEN of the environment template-update is missing")
    github = rest.connect(environment)
    if run("git", "status", "--porcelain"):
        raise UpdateError("the checkout has changes of its own")
    # The template's hooks run in there, and nobody has reviewed them yet.
    hidden = {name: value for name, value in environment.items() if name != "GITHUB_TOKEN"}
    cruft = (sys.executable, "-m", "cruft", "update", "--skip-apply-ask", f"--checkout={before.checkout}")
    run(*cruft, environment=hidden)
    if not run("git", "status", "--porcelain"):
        return "Nothing to do: the project is up to date with its template."
    after = origin()
    marked = run("git", "diff", "-z", "--name-only", "--diff-filter=U").split("\0")
    left = run("git", "ls-files", "-z", "--others", "--exclude-standard", "*.rej").split("\0")
    conflicts = sorted({path for path in (*marked, *left) if path})
    if not push(commit(before, after), environment):
        return f"Nothing was done: the branch {BRANCH} has commits of others. Merge or delete it first."
    pulls, content = f"{github.path}/pulls", {"title": TITLE, "body": body(before, after, conflicts)}
    owner = environment["GITHUB_REPOSITORY"].partition("/")[0]
    for opened in rest.pages(github, pulls, state="open", head=f"{owner}:{BRANCH}"):
        rest.call(github, "PATCH", f"{pulls}/{int(opened['number'])}", json=content)
        return f"Brought #{opened['number']} up to date; conflicts: {len(conflicts)}."
    made = rest.call(github, "POST", pulls, json={"head": BRANCH, "base": base, **content})
    return f"Opened #{int(made.json()['number'])}; conflicts: {len(conflicts)}."


if __name__ == "__main__":
    command.end(lambda: rest.report("update from the template", lambda: update(os.environ)))
