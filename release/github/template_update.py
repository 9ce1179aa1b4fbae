"""Brings the project up to date with the template it was generated from, as a pull request.

    python -m release.github.template_update      in a workflow, with GH_TOKEN: a token that may change workflows

cruft merges; where it cannot, it leaves conflict markers or a .rej file, and the pull request lists them. Only a
project that cruft generated can be updated. Exit code 0: opened or changed, or nothing to do, and it says which; 3:
could not be done.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import command

BRANCH = "template-update"
TITLE = "Update from the template"
NAME, EMAIL = "github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # cruft prints it in a workflow of GitHub Actions
LISTED = 100  # conflicts; GitHub takes 65,536 characters


class UpdateError(RuntimeError):
    """The project cannot be updated; the message says why and what to do."""


class Noted(NamedTuple):
    """What cruft notes in .cruft.json."""

    template: str
    checkout: str  # the branch of the template that the project follows
    commit: str


def run(*arguments: str, environment: Mapping[str, str] | None = None, given: str = "") -> str:
    """What a command printed. Raises UpdateError with what says why it failed."""
    done = subprocess.run(
        arguments, check=False, capture_output=True, text=True, errors="replace", env=environment, input=given
    )
    if done.returncode:
        said = COLOUR.sub("", done.stderr).strip() or COLOUR.sub("", done.stdout).strip() or "no message"
        _, framed, message = said.rpartition("╯")  # cruft frames its traceback, and its message follows
        reason = next((line for line in said.splitlines() if "rejected]" in line), said.splitlines()[-1])
        reason = " ".join((message if framed else reason).split())
        raise UpdateError(f"`{' '.join(Path(word).name for word in arguments[:3])}` failed: {reason[:500]}")
    return done.stdout


def noted() -> Noted:
    """What the project's .cruft.json says. Raises UpdateError."""
    try:
        found = json.loads(Path(".cruft.json").read_text(encoding="utf-8"))
        return Noted(str(found["template"]), str(found.get("checkout") or "template"), str(found["commit"]))
    except FileNotFoundError:
        raise UpdateError(
            "there is no .cruft.json, in which cruft notes where a project comes from: `cruft link` makes one"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UpdateError(".cruft.json is not what cruft writes") from None


def body(before: Noted, after: Noted, conflicts: list[str]) -> str:
    """What the pull request says."""
    text = f"What the template has changed since `{before.commit[:10]}`, up to `{after.commit[:10]}`"
    if after.template.startswith("https://github.com/"):
        text += f" ([compare]({after.template.removesuffix('.git')}/compare/{before.commit}...{after.commit}))"
    if not conflicts:
        return f"{text}. Nothing conflicts with your own changes."
    listed = [f"- `{path}`" for path in conflicts[:LISTED]]
    listed += [f"- and {len(conflicts) - LISTED} more"] if len(conflicts) > LISTED else []
    return "\n".join(
        [
            f"{text}. **Some of it conflicts with your own changes.** These files hold both sides between conflict "
            "markers, or, where their name ends in .rej, what could not be applied: choose, then remove the markers "
            "and the .rej files.\n",
            *listed,
        ]
    )


def with_token(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which git may push, with the token in no argument and in no file."""
    token = base64.b64encode(f"x-access-token:{environment['GH_TOKEN']}".encode()).decode()
    server = environment.get("GITHUB_SERVER_URL") or "https://github.com"
    return dict(environment) | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{server}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {token}",
    }


def commit(before: Noted, after: Noted) -> str:
    """Commits everything, and returns the commit: the same one again where main and the template are the same again."""
    date = run("git", "log", "-1", "--format=%cI").strip()
    author = {"GIT_AUTHOR_NAME": NAME, "GIT_AUTHOR_EMAIL": EMAIL, "GIT_AUTHOR_DATE": date}
    committer = {"GIT_COMMITTER_NAME": NAME, "GIT_COMMITTER_EMAIL": EMAIL, "GIT_COMMITTER_DATE": date}
    message = f"{TITLE}\n\nFrom {before.commit} to {after.commit}."
    run("git", "add", "--all")
    run("git", "checkout", "--quiet", "-B", BRANCH)
    run("git", "commit", "--quiet", "--no-verify", "-m", message, environment={**os.environ, **author, **committer})
    return run("git", "rev-parse", "HEAD").strip()


def push(made: str, environment: Mapping[str, str]) -> bool:
    """Puts the commit on the branch; False where others have worked on it, which must not be lost."""
    reference = f"refs/heads/{BRANCH}"
    tip = run("git", "ls-remote", "origin", reference, environment=environment).partition("\t")[0]
    if tip == made:
        return True
    if tip:
        run("git", "fetch", "--quiet", "origin", reference, environment=environment)
        if run("git", "log", "-1", "--format=%ce", tip).strip() != EMAIL:
            return False
    lease = f"--force-with-lease={reference}:{tip}"
    run("git", "push", "--quiet", lease, "origin", f"{made}:{reference}", environment=environment)
    return True


def api(path: str, method: str = "GET", **fields: str) -> Any:
    """One request to GitHub. Not `gh pr edit`, which asks for more than a fine-grained token may read."""
    given = ("--input", "-") if fields else ()
    return json.loads(run("gh", "api", path, "--method", method, *given, given=json.dumps(fields)))


def update(environment: Mapping[str, str]) -> str:
    """Returns what was done. Raises UpdateError."""
    before = noted()
    if not environment.get("GH_TOKEN"):
        raise UpdateError("GH_TOKEN is empty: the secret TEMPLATE_TOKEN of the environment template-update is missing")
    missing = [name for name in ("GITHUB_REPOSITORY", "GITHUB_REF_NAME") if not environment.get(name)]
    if missing:
        raise UpdateError(f"{' and '.join(missing)} must be in the environment, as in a workflow of GitHub Actions")
    if run("git", "status", "--porcelain"):
        raise UpdateError("the checkout has changes of its own")
    # The template's hooks run in there, and nobody has reviewed them yet.
    hidden = {name: value for name, value in environment.items() if name != "GH_TOKEN"}
    cruft = (sys.executable, "-m", "cruft", "update", "--skip-apply-ask", f"--checkout={before.checkout}")
    run(*cruft, environment=hidden)
    if not run("git", "status", "--porcelain"):
        return "Nothing to do: the project is up to date with its template."
    after = noted()
    marked = run("git", "diff", "-z", "--name-only", "--diff-filter=U").split("\0")
    left = run("git", "ls-files", "-z", "--others", "--exclude-standard", "*.rej").split("\0")
    conflicts = sorted({path for path in (*marked, *left) if path})
    if not push(commit(before, after), with_token(environment)):
        return f"Nothing was done: the branch {BRANCH} has commits of others. Merge or delete it first."
    repository = environment["GITHUB_REPOSITORY"]
    fields = {"title": TITLE, "body": body(before, after, conflicts)}
    opened = api(f"repos/{repository}/pulls?state=open&head={repository.partition('/')[0]}:{BRANCH}")
    if opened:
        api(f"repos/{repository}/pulls/{opened[0]['number']}", "PATCH", **fields)
        return f"Brought #{opened[0]['number']} up to date; conflicts: {len(conflicts)}."
    made = api(f"repos/{repository}/pulls", "POST", head=BRANCH, base=environment["GITHUB_REF_NAME"], **fields)
    return f"Opened #{made['number']}; conflicts: {len(conflicts)}."


def main() -> int:
    try:
        print(update(os.environ))
    except (UpdateError, OSError) as error:
        print(f"Cannot update from the template: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
