"""The part of GitHub's REST API that is used here, on 127.0.0.1, with what it keeps in memory.

It answers as https://docs.github.com/en/rest says: lists in pages with a Link header, downloads by a redirect to
another host that must not see the token, errors as {"message": …}.
"""

import contextlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "acme/loans"
TOKEN = "a-token-that-nobody-may-see"  # noqa: S105  of this server
BOT = {"login": "github-actions[bot]", "type": "Bot"}
PER_PAGE = 2  # however many are asked for, so that every list has pages


def zipped(packing: int = zipfile.ZIP_DEFLATED, /, **files: bytes) -> bytes:
    """A zip file; an underscore in a name stands for a dot."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", packing) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return data.getvalue()


@dataclass
class GitHub:
    """A repository on the server, and every request that it got: (method, path with query, body)."""

    url: str = ""
    repository: str = REPOSITORY
    pulls: list[dict[str, Any]] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)  # with their content under "zip"
    runs: list[dict[str, Any]] = field(default_factory=list)  # of the workflow pipeline.yml
    environments: list[str] = field(default_factory=list)
    tip: str = ""  # the newest commit of main
    compared: dict[str, str | None] = field(default_factory=dict)  # statuses by "base...head"; None: unknown
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)  # tokens that the host of the downloads was sent
    failures: list[int] = field(default_factory=list)  # statuses of the next answers; 200: as ever

    @property
    def environment(self) -> dict[str, str]:
        return {"GITHUB_API_URL": self.url, "GITHUB_REPOSITORY": self.repository, "GITHUB_TOKEN": TOKEN} | {
            "GITHUB_SERVER_URL": "https://github.example"
        }

    @property
    def written(self) -> list[tuple[str, str, Any]]:
        """The requests that change something."""
        return [request for request in self.requests if request[0] != "GET"]

    def artifact(self, name: str, content: bytes, **more: Any) -> None:
        """Adds an artifact, of a run on main in this very repository; `headers`: with which it is downloaded."""
        run = {"head_branch": "main", "repository_id": 1, "head_repository_id": 1}
        number = len(self.artifacts) + 1
        entry = {"id": number, "name": name, "size_in_bytes": len(content), "expired": False, "workflow_run": run}
        self.artifacts.append(entry | more | {"zip": content})

    def pull(self, number: int, sha: str, owner: str = "acme", branch: str = "faster", **head: Any) -> None:
        """Adds an open pull request; of a fork where the owner is another one."""
        repository = {"id": 1 if owner == "acme" else 2, "owner": {"login": owner}}
        self.pulls.append(
            {
                "number": number,
                "head": {"sha": sha, "ref": branch, "label": f"{owner}:{branch}", "repo": repository} | head,
                "base": {"ref": "main", "repo": {"id": 1}},
            }
        )

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:  # noqa: PLR0911, PLR0912  one a route
        """What a request gets: a JSON value, or None where there is no such thing."""
        inside = path.removeprefix(f"/repos/{self.repository}")
        if method == "GET" and inside == "/pulls":
            return [pull for pull in self.pulls if pull["head"]["label"] == query["head"]]
        if method == "POST" and inside == "/pulls":
            return {"number": 7} | body
        if method == "POST" and re.fullmatch(r"/actions/workflows/\w+\.yml/dispatches", inside):
            return {}
        if method == "PATCH" and (found := re.fullmatch(r"/pulls/(\d+)", inside)):
            return {"number": int(found[1])} | body
        if method == "GET" and inside == "/commits/main":
            return {"sha": self.tip}
        if method == "GET" and (found := re.fullmatch(r"/compare/(\w+\.\.\.\w+)", inside)):
            status = self.compared.get(found[1], self.compared.get("*", "behind"))
            return status and {"status": status}
        if method == "GET" and inside == "/actions/workflows/pipeline.yml/runs":
            return {"workflow_runs": [run for run in self.runs if run["head_branch"] == query["branch"]]}
        if method == "GET" and inside == "/environments":
            return {"environments": [{"name": name} for name in self.environments]}
        if method == "GET" and re.fullmatch(r"/actions/runs/\d+/jobs", inside):
            return {"jobs": self.jobs}
        if method == "GET" and re.fullmatch(r"/actions/(runs/\d+/)?artifacts", inside):
            found = [each for each in self.artifacts if query.get("name") in (None, each["name"])]
            return {"artifacts": [{k: v for k, v in each.items() if k != "zip"} for each in found]}
        if found := re.fullmatch(r"/issues/(\d+)/comments", inside):
            return self._thread(method, int(found[1]), body)
        if method == "PATCH" and (found := re.fullmatch(r"/issues/comments/(\d+)", inside)):
            return next(c for c in self.comments if c["id"] == int(found[1])) | {"body": body["body"]}
        if inside == "/issues":
            return self._issues(method, query, body)
        if method == "PATCH" and (found := re.fullmatch(r"/issues/(\d+)", inside)):
            (issue,) = [each for each in self.issues if each["number"] == int(found[1])]
            issue.update(body)
            return issue
        return None

    def _thread(self, method: str, number: int, body: Any) -> Any:
        if method == "GET":
            return [comment for comment in self.comments if comment["issue"] == number]
        made = {"id": 100 + len(self.comments), "issue": number, "user": BOT, "body": body["body"]}
        self.comments.append(made)
        return made

    def _issues(self, method: str, query: dict[str, str], body: Any) -> Any:
        if method == "POST":
            self.issues.append({"number": 50 + len(self.issues), "state": "open", "user": BOT} | body)
            return self.issues[-1]
        return [i for i in self.issues if i["state"] == query["state"] and i["user"]["login"] == query["creator"]]


@contextmanager
def serving(repository: str = REPOSITORY) -> Iterator[GitHub]:
    """A running server; under two names, as the downloads come from another host."""
    github = GitHub(repository=repository)

    class Api(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers["Content-Length"] or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            github.requests.append((self.command, self.path, body))
            status = github.failures.pop(0) if github.failures else 200
            if status != 200:
                return self.give(status, {"message": "Something is wrong"})
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                return self.give(401, {"message": "Bad credentials"})
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            if found := re.search(r"/actions/artifacts/(\d+)/zip$", parts.path):
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{files.server_address[1]}/{found[1]}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            answer = github.answer(self.command, parts.path, query, body)
            if answer is None:
                return self.give(404, {"message": "Not Found"})
            if self.command == "PATCH" and "/comments/" in parts.path:
                next(c for c in github.comments if c["id"] == answer["id"])["body"] = answer["body"]
            return self.give(201 if self.command == "POST" else 200, answer, int(query.get("page", "1")))

        do_GET = do_POST = do_PATCH = handle_any

        def give(self, status: int, value: Any, page: int = 0) -> None:
            key = next(
                (key for key in ("jobs", "artifacts", "environments") if isinstance(value, dict) and key in value), ""
            )
            whole = value[key] if key else value
            more = ""
            if page and isinstance(whole, list):
                shown = whole[(page - 1) * PER_PAGE : page * PER_PAGE]
                value = {key: shown} if key else shown
                joint = "&" if "?" in self.path else "?"
                bare = re.sub(r"[?&]page=\d+", "", self.path)
                more = f'<{github.url}{bare}{joint}page={page + 1}>; rel="next"' if len(whole) > page * PER_PAGE else ""
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if more:
                self.send_header("Link", more)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "Authorization" in self.headers:
                github.leaked.append(self.headers["Authorization"])
            (found,) = [each for each in github.artifacts if each["id"] == int(self.path[1:])]
            self.send_response(200)
            for name, value in found.get("headers", {}).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # who has read enough hangs up
                self.wfile.write(found["zip"])

        def log_message(self, *_: Any) -> None:
            pass

    files = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    api = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    github.url = f"http://127.0.0.1:{api.server_address[1]}"
    for server in (files, api):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield github
    finally:
        for server in (files, api):
            server.shutdown()
            server.server_close()
