"""Opens a pull request with what is new elsewhere: the libraries, or the template that the project was generated from.

    python -m release.github.updates libraries | template

libraries: the newest that fit and that are a week old (make lock UPGRADE=1). With a workflow's own token, whose pull
requests start no workflow, so the pipeline is started on the branch.
template: with a token that may change workflows. cruft merges; where it cannot, it leaves conflict markers or a .rej
file, and the pull request lists them. Only a project that cruft generated can be updated.

Exit code 0: opened or changed, or nothing to do, and it says which; 3: could not be done.
"""

import argparse
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

FORBIDDEN = 403  # "GitHub Actions is not permitted to create or approve pull requests": so by default

PIPELINE = "pipeline.yml"
COOLDOWN = "7 days"  # time for others to notice a stolen release
PINNED = re.compile(r"^([-+])([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
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


def text_of(before: Origin, after: Origin, conflicts: list[str]) -> str:
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


def commit(branch: str, message: str) -> str:
    """Commits everything, and returns the commit: the same one again where main and the change are the same again."""
    date = run("git", "log", "-1", "--format=%cI").strip()
    run("git", "add", "--all")
    run("git", "checkout", "--quiet", "-B", branch)
    commit = ("-c", f"user.name={NAME}", "-c", f"user.email={EMAIL}", "commit", "--quiet", "--no-verify")
    run("git", *commit, f"--date={date}", "-m", message, environment={**os.environ, "GIT_COMMITTER_DATE": date})
    return run("git", "rev-parse", "HEAD").strip()


def push(branch: str, made: str, environment: Mapping[str, str]) -> bool:
    """Puts the commit on the branch; False where others have worked on it, which must not be lost."""
    # With the token in no argument and in no file.
    token = base64.b64encode(f"x-access-token:{environment['GITHUB_TOKEN']}".encode()).decode()
    server = environment.get("GITHUB_SERVER_URL") or "https://github.com"
    git = dict(environment) | {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": "1"}
    git |= {"GIT_CONFIG_KEY_0": f"http.{server}/.extraheader", "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {token}"}
    reference = f"refs/heads/{branch}"
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


def propose(environment: Mapping[str, str], branch: str, title: str, body: str, message: str, start: str = "") -> str:
    """Commits what lies here to a branch and opens its pull request, or changes it; returns what was done.

    `start`: the workflow that checks it, where the token's own pull requests start none. Where the repository allows no
    pull request by a workflow, an issue has the link by which a person opens it. Raises UpdateError or GitHubError.
    """
    github, base = rest.connect(environment), run("git", "branch", "--show-current").strip()
    if not push(branch, commit(branch, message), environment):
        return f"Nothing was done: the branch {branch} has commits of others. Merge or delete it first."
    pulls, content = f"{github.path}/pulls", {"title": title, "body": body}
    owner = environment["GITHUB_REPOSITORY"].partition("/")[0]
    opened = next(rest.pages(github, pulls, state="open", head=f"{owner}:{branch}"), None)
    try:
        if opened is not None:
            rest.call(github, "PATCH", f"{pulls}/{int(opened['number'])}", json=content)
        else:
            made = rest.call(github, "POST", pulls, json={"head": branch, "base": base, **content})
    except rest.GitHubError as error:
        if error.status != FORBIDDEN:
            raise
        link = f"{github.web}/compare/{base}...{branch}?expand=1"
        text = f"{body}\n\n**Next:** [open the pull request]({link})."
        return rest.keep_issue(github, title, text, rest.issue_of(github, title))
    if start:
        rest.call(github, "POST", f"{github.path}/actions/workflows/{start}/dispatches", json={"ref": branch})
    return f"Brought #{opened['number']} up to date." if opened else f"Opened #{int(made.json()['number'])}."


def libraries(environment: Mapping[str, str]) -> str:
    """Pins the newest libraries; returns what was done. Raises UpdateError or GitHubError."""
    rest.connect(environment)
    newer = {**os.environ, "UPGRADE": "1", "COOLDOWN": COOLDOWN, "VENV": sys.prefix}
    run(
        "sh",
        "requirements/lock.sh",
        environment={name: value for name, value in newer.items() if name != "GITHUB_TOKEN"},
    )
    changed = changes_of(run("git", "diff", "--unified=0", "--", "requirements"))
    if not changed:
        return "Nothing to do: the libraries are the newest that fit."
    body = "\n".join(["The newest libraries that fit, a week old at least:\n", *changed])
    branch, title = "library-update", "Update the libraries"
    return propose(environment, branch, title, body, f"{title}\n\n{body}", start=PIPELINE)


def changes_of(diff: str) -> list[str]:
    """What a diff of the locks changes, a line for each library."""
    versions: dict[str, dict[str, set[str]]] = {}
    for sign, name, version in PINNED.findall(diff):
        versions.setdefault(name, {"-": set(), "+": set()})[sign].add(version)
    shown = {
        name: [", ".join(sorted(both[sign])) or "none" for sign in "-+"] for name, both in sorted(versions.items())
    }
    return [f"- {name} {before} → {after}" for name, (before, after) in shown.items() if before != after]


def template(environment: Mapping[str, str]) -> str:
    """Merges what the template has changed; returns what was done. Raises UpdateError or GitHubError."""
    before = origin()
    if not environment.get("GITHUB_TOKEN"):
        raise UpdateError("the secret TEMPLATE_TOKEN of the environment template-update is missing")
    rest.connect(environment)
    if run("git", "status", "--porcelain"):
        raise UpdateError("the checkout has changes of its own")
    # The template's hooks run in there, and nobody has reviewed them yet.
    hidden = {name: value for name, value in environment.items() if name != "GITHUB_TOKEN"} | {"QUIET": "1"}
    cruft = (sys.executable, "-m", "cruft", "update", "--skip-apply-ask", f"--checkout={before.checkout}")
    run(*cruft, environment=hidden)
    if not run("git", "status", "--porcelain"):
        return "Nothing to do: the project is up to date with its template."
    after = origin()
    marked = run("git", "diff", "-z", "--name-only", "--diff-filter=U").split("\0")
    left = run("git", "ls-files", "-z", "--others", "--exclude-standard", "*.rej").split("\0")
    conflicts = sorted({path for path in (*marked, *left) if path})
    title = "Update from the template"
    message = f"{title}\n\nFrom {before.commit} to {after.commit}."
    done = propose(environment, "template-update", title, text_of(before, after, conflicts), message)
    return done if done.startswith("Nothing") else f"{done[:-1]}; conflicts: {len(conflicts)}."


KINDS = {"libraries": libraries, "template": template}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.github.updates", description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    kind = parser.parse_args(argv).kind
    return rest.report(f"update the {kind}", lambda: KINDS[kind](os.environ))


if __name__ == "__main__":
    command.end(main)
