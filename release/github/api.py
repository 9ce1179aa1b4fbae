"""GitHub's REST API, as far as it is used here, with requests. https://docs.github.com/en/rest

Whatever comes back is checked for its shape where it is used: a pull request can name jobs, branches and artifacts.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

BOT = "github-actions[bot]"
MARKER = "<!-- perf-gate:issue {} -->"  # at the end of an issue of ours, with its title


class GitHubError(RuntimeError):
    """GitHub does not answer, or refuses; the message says which request and why, never with what token."""

    status = 0  # of GitHub's answer; 0: there was none


class GitHub(NamedTuple):
    """A repository on GitHub, and the session that speaks with it."""

    api: str
    web: str  # where people see the repository
    path: str  # under which the API has it: /repos/owner/name
    session: requests.Session


def connect(environment: Mapping[str, str]) -> GitHub:
    """The repository that the variables of a workflow name. Raises GitHubError where one is missing."""
    missing = [key for key in ("GITHUB_REPOSITORY", "GITHUB_TOKEN") if not environment.get(key)]
    if missing:
        raise GitHubError(f"{' and '.join(missing)} must be in the environment, as in a workflow of GitHub Actions")
    session = requests.Session()
    session.headers.update(Authorization=f"Bearer {environment['GITHUB_TOKEN']}", Accept="application/vnd.github+json")
    # Only requests that change nothing are made again, and the last answer says what it was.
    busy, harmless = (429, 500, 502, 503, 504), ("GET",)
    again = Retry(4, backoff_factor=0.5, status_forcelist=busy, allowed_methods=harmless, raise_on_status=False)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    api = (environment.get("GITHUB_API_URL") or "https://api.github.com").rstrip("/")
    server, repository = environment.get("GITHUB_SERVER_URL") or "https://github.com", environment["GITHUB_REPOSITORY"]
    return GitHub(api, f"{server}/{repository}", f"/repos/{repository}", session)


def event(environment: Mapping[str, str]) -> Any:
    """The event that started the workflow; empty outside of one."""
    path = environment.get("GITHUB_EVENT_PATH")
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}


def default_branch(environment: Mapping[str, str]) -> str:
    """Where versions are promoted from: the branch that the event names, or main."""
    return str((event(environment).get("repository") or {}).get("default_branch") or "main")


def report(what: str, work: Callable[[], str]) -> int:
    """Runs a command and prints what it did; the exit code 0, or 3 with a line that says why it could not."""
    try:
        print(work())
    except GitHubError as error:
        why = str(error)
    except (KeyError, TypeError, ValueError, OSError) as error:
        why = f"what came from GitHub is not as it should be ({type(error).__name__}: {error})"
    else:
        return 0
    print(f"Cannot {what}: {why}", file=sys.stderr)
    return 3


def call(github: GitHub, method: str, path: str, **options: Any) -> requests.Response:
    """One request; `path` begins with a slash, or is a whole address that GitHub gave. Raises GitHubError."""
    url = path if path.startswith(github.api) else github.api + path
    try:
        answer = github.session.request(method, url, timeout=30, **options)
    except requests.RequestException as error:
        raise GitHubError(f"{method} {path}: {type(error).__name__}") from None
    if not answer.ok:
        words = answer.json()["message"] if "json" in answer.headers.get("Content-Type", "") else answer.reason
        refused = GitHubError(f"{method} {path}: {answer.status_code} {' '.join(str(words).split())[:200]}")
        refused.status = answer.status_code
        raise refused
    return answer


def pages(github: GitHub, path: str, key: str = "", **parameters: Any) -> Iterator[dict[str, Any]]:
    """The entries of a list, page after page; `key`: under which they are in each page."""
    answer = call(github, "GET", path, params={"per_page": 100, **parameters})
    for _ in range(10):  # of 100 entries at most
        yield from answer.json()[key] if key else answer.json()
        if "next" not in answer.links:
            return
        answer = call(github, "GET", answer.links["next"]["url"])


def artifacts(github: GitHub, run: int) -> dict[str, dict[str, Any]]:
    """The artifacts of a run of a workflow, by name; of two of a name, from two attempts, the newer."""
    every = pages(github, f"{github.path}/actions/runs/{run}/artifacts", "artifacts")
    return {each["name"]: each for each in sorted(every, key=lambda each: int(each["id"])) if not each["expired"]}


def download(github: GitHub, artifact: Mapping[str, Any], limit: int) -> bytes:
    """The zip of an artifact. Raises GitHubError where it has more than `limit` bytes, whatever its entry says."""
    path, content = f"{github.path}/actions/artifacts/{int(artifact['id'])}/zip", bytearray()
    if int(artifact["size_in_bytes"]) <= limit:
        try:
            with call(github, "GET", path, stream=True, headers={"Accept-Encoding": "identity"}) as answer:
                # Raw: who uploads chooses the header Content-Encoding, and gzip makes 500 MB of 500 kB.
                for chunk in answer.raw.stream(65_536, decode_content=False):
                    content += chunk
                    if len(content) > limit:
                        break
                else:
                    return bytes(content)
        except HTTPError as error:
            raise GitHubError(f"GET {path}: {type(error).__name__}") from None
    raise GitHubError(f"GET {path}: it has more than {limit} bytes")


def issue_of(github: GitHub, title: str) -> int:
    """The number of the open issue of ours with a title; 0: there is none. Raises GitHubError."""
    for each in pages(github, f"{github.path}/issues", state="open", creator=BOT):
        # A pull request is an issue to GitHub as well, but none of ours.
        if "pull_request" not in each and (each["body"] or "").rstrip().endswith(MARKER.format(title)):
            return int(each["number"])
    return 0


def keep_issue(github: GitHub, title: str, text: str, number: int) -> str:
    """Opens an issue, or changes the one of that number; returns what was done. Raises GitHubError."""
    body = {"body": f"{text}\n\n{MARKER.format(title)}"}
    if number:
        call(github, "PATCH", f"{github.path}/issues/{number}", json=body)
        return f"Brought #{number} up to date."
    made = call(github, "POST", f"{github.path}/issues", json={"title": title, **body})
    return f"Opened #{int(made.json()['number'])}."
