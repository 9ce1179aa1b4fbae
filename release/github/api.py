"""GitHub's REST API, as far as it is used here, with requests. https://docs.github.com/en/rest

Whatever comes back is checked for its shape where it is used: a pull request can name jobs, branches and artifacts.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

TIMEOUT = 30  # seconds, for each answer
MAX_PAGES = 10  # of 100 entries
CHUNK = 65_536


class GitHubError(RuntimeError):
    """GitHub does not answer, or refuses; the message says which request and why, never with what token."""


class GitHub(NamedTuple):
    """A repository on GitHub, and the session that speaks with it."""

    api: str
    repository: str  # owner/name
    session: requests.Session

    @property
    def path(self) -> str:
        return f"/repos/{self.repository}"


def connect(environment: Mapping[str, str]) -> GitHub:
    """The repository that the variables of a workflow name. Raises GitHubError where one is missing."""
    missing = [key for key in ("GITHUB_REPOSITORY", "GITHUB_TOKEN") if not environment.get(key)]
    if missing:
        raise GitHubError(f"{' and '.join(missing)} must be in the environment, as in a workflow of GitHub Actions")
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {environment['GITHUB_TOKEN']}"
    session.headers["Accept"] = "application/vnd.github+json"
    # Only requests that change nothing are made again. GitHub answers 403 or 429 where one asks too often.
    again = Retry(
        total=4,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET",),
        raise_on_status=False,  # so that the last answer says what it was
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    api = environment.get("GITHUB_API_URL") or "https://api.github.com"
    return GitHub(api.rstrip("/"), environment["GITHUB_REPOSITORY"], session)


def call(github: GitHub, method: str, path: str, **options: Any) -> requests.Response:
    """One request; `path` begins with a slash, or is a whole address that GitHub gave. Raises GitHubError."""
    url = path if path.startswith(github.api) else github.api + path
    try:
        answer = github.session.request(method, url, timeout=TIMEOUT, **options)
    except requests.RequestException as error:
        raise GitHubError(f"{method} {path}: {type(error).__name__}") from None
    if not answer.ok:
        raise GitHubError(f"{method} {path}: {answer.status_code} {_reason(answer)}")
    return answer


def _reason(answer: requests.Response) -> str:
    try:
        return " ".join(str(answer.json()["message"]).split())[:200]
    except (ValueError, KeyError, TypeError):
        return str(answer.reason)[:200]


def pages(github: GitHub, path: str, key: str = "", **parameters: Any) -> Iterator[dict[str, Any]]:
    """The entries of a list, page after page; `key`: under which they are in each page."""
    answer = call(github, "GET", path, params={"per_page": 100, **parameters})
    for _ in range(MAX_PAGES):
        try:
            found = answer.json()
            found = found[key] if key else found
        except (ValueError, KeyError, TypeError):
            raise GitHubError(f"GET {path}: {answer.status_code}, but not the list that it should be") from None
        yield from found
        if "next" not in answer.links:
            return
        answer = call(github, "GET", answer.links["next"]["url"])


def artifacts(github: GitHub, run: int) -> dict[str, dict[str, Any]]:
    """The artifacts of a run of a workflow, by name; of two of a name, from two attempts, the newer."""
    found = pages(github, f"{github.path}/actions/runs/{run}/artifacts", "artifacts")
    return {each["name"]: each for each in sorted(found, key=lambda each: int(each["id"])) if not each["expired"]}


def newest_artifact(github: GitHub, name: str, branch: str, limit: int) -> bytes | None:
    """The zip of the newest artifact `name` of a run on a branch of this very repository; None where there is none.

    Raises GitHubError, also where it has more than `limit` bytes.
    """
    found = [
        each
        for each in pages(github, f"{github.path}/actions/artifacts", "artifacts", name=name)
        if not each["expired"]
        and each["workflow_run"]["head_branch"] == branch
        # A fork may have a branch of that name as well, and what its workflows make is no store of ours.
        and each["workflow_run"]["head_repository_id"] == each["workflow_run"]["repository_id"]
    ]
    return download(github, max(found, key=lambda each: int(each["id"])), limit) if found else None


def download(github: GitHub, artifact: Mapping[str, Any], limit: int) -> bytes:
    """The zip of an artifact. Raises GitHubError where it has more than `limit` bytes, whatever its entry says."""
    path, content = f"{github.path}/actions/artifacts/{int(artifact['id'])}/zip", bytearray()
    if int(artifact["size_in_bytes"]) <= limit:
        try:
            with call(github, "GET", path, stream=True, headers={"Accept-Encoding": "identity"}) as answer:
                # Raw: who uploads chooses the header Content-Encoding, and gzip makes 500 MB of 500 kB.
                for chunk in answer.raw.stream(CHUNK, decode_content=False):
                    content += chunk
                    if len(content) > limit:
                        break
                else:
                    return bytes(content)
        except HTTPError as error:
            raise GitHubError(f"GET {path}: {type(error).__name__}") from None
    raise GitHubError(f"GET {path}: it has more than {limit} bytes")
