"""GitHub's service of artifacts and caches, on 127.0.0.1, for the clients that GitHub publishes on npm.

Twirp with JSON, and blobs as Azure takes them: packages artifact and cache of https://github.com/actions/toolkit.
Nothing is written over: an artifact is deleted before another takes its name, a cache keeps what it has. A job sees the
artifacts of its own run. It reads the caches of its branch and then of the default one, and writes those of its branch:
https://docs.github.com/en/actions/reference/workflows-and-actions/dependency-caching
"""

import json
import re
import secrets
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

READ, WRITE = 1, 2  # of a scope in a token's claim `ac`
STATUS = {"already_exists": 409, "not_found": 404, "unauthenticated": 401, "permission_denied": 403}


class Refused(Exception):
    """An error of Twirp: its code, and what it says."""


@dataclass
class Entry:
    """An artifact or a cache; `scope`: a run's number, or a branch."""

    scope: str
    name: str
    version: str  # of a cache: a digest of its paths and of how it is packed
    number: int
    blob: str
    digest: str = ""
    whole: bool = False


@dataclass
class Results:
    """The running service."""

    folder: Path
    key: str
    url: str = ""
    artifacts: list[Entry] = field(default_factory=list)
    caches: list[Entry] = field(default_factory=list)
    blocks: dict[tuple[str, str], bytes] = field(default_factory=dict)
    made: int = 0

    def environment(self, run: int, branch: str, default: str) -> dict[str, str]:
        """What the runner tells the steps of a job; `default`: the branch whose caches it may read as well."""
        scopes = [{"Scope": branch, "Permission": READ | WRITE}]
        scopes += [{"Scope": default, "Permission": READ}] if default != branch else []
        claims = {"scp": f"Actions.Results:{run}:job", "ac": json.dumps(scopes)}
        token = jwt.encode(claims, self.key, "HS256")
        return {"ACTIONS_RESULTS_URL": self.url, "ACTIONS_RUNTIME_TOKEN": token, "ACTIONS_CACHE_SERVICE_V2": "true"}

    def packed(self, run: int, name: str) -> Path | None:
        """The zip file of an artifact of a run, if there is one."""
        return next((self.folder / each.blob for each in self._of(str(run)) if each.name == name), None)

    def names(self, run: int) -> list[str]:
        return sorted(each.name for each in self._of(str(run)))

    def unpacked(self, run: int, name: str) -> Path:
        """A folder with the files of an artifact; it is not there where the artifact is not."""
        packed = self.packed(run, name)
        if packed is None:
            return self.folder / "nothing"
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(packed.with_suffix(""))
        return packed.with_suffix("")

    def _of(self, run: str) -> list[Entry]:
        return [each for each in self.artifacts if each.scope == run and each.whole]

    def call(self, method: str, claims: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        """What a method answers. Raises Refused."""
        if "Cache" in method:
            scopes = {each["Scope"]: each["Permission"] for each in json.loads(claims["ac"])}
            return self._cache(method, scopes, body)
        run = claims["scp"].split(":")[1]
        if body["workflow_run_backend_id"] != run:
            raise Refused("permission_denied", "this is another run")
        return self._artifact(method, run, body)

    def _new(self, entries: list[Entry], scope: str, name: str, version: str = "") -> dict[str, Any]:
        self.made += 1
        blob = f"{secrets.token_hex(16)}.{'tar' if version else 'zip'}"
        entries.append(Entry(scope, name, version, self.made, blob))
        return {"ok": True, "signed_upload_url": self._signed(blob)}

    def _signed(self, blob: str) -> str:
        return f"{self.url}/account/actions/{blob}"

    def _artifact(self, method: str, run: str, body: dict[str, Any]) -> dict[str, Any]:
        name, number = body.get("name", body.get("name_filter")), body.get("id_filter")
        found = [each for each in self.artifacts if each.scope == run and name in (None, each.name)]
        if method == "CreateArtifact":
            if found:
                raise Refused("already_exists", "an artifact with this name already exists on the workflow run")
            return self._new(self.artifacts, run, body["name"])
        if method == "ListArtifacts":
            whole = [each for each in found if each.whole and number in (None, str(each.number))]
            return {"artifacts": [self._listed(each) for each in whole]}
        if not found:
            raise Refused("not_found", f"no artifact {name}")
        entry = found[0]
        if method == "GetSignedArtifactURL":
            return {"name": entry.name, "signed_url": self._signed(entry.blob)}
        if method == "DeleteArtifact":
            self.artifacts.remove(entry)
        else:
            entry.digest, entry.whole = body["hash"], True
        return {"ok": True, "artifact_id": str(entry.number)}

    def _listed(self, entry: Entry) -> dict[str, Any]:
        ids = {"workflow_run_backend_id": entry.scope, "workflow_job_run_backend_id": "job"}
        size = str((self.folder / entry.blob).stat().st_size)
        known = {"name": entry.name, "size": size, "digest": entry.digest, "database_id": str(entry.number)}
        return ids | known | {"created_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}

    def _cache(self, method: str, scopes: dict[str, int], body: dict[str, Any]) -> dict[str, Any]:
        same = [each for each in self.caches if each.version == body["version"]]
        if method == "GetCacheEntryDownloadURL":
            keys = (body["key"], *body.get("restore_keys", []))
            readable = [scope for scope, allowed in scopes.items() if allowed & READ]
            found = next((hit for scope in readable for key in keys if (hit := newest(same, scope, key))), None)
            if found is None:
                return {"ok": False}
            return {"ok": True, "signed_download_url": self._signed(found.blob), "matched_key": found.name}
        branch = next(scope for scope, allowed in scopes.items() if allowed & WRITE)
        entries = [each for each in same if (each.scope, each.name) == (branch, body["key"])]
        if method == "CreateCacheEntry":
            if entries:
                raise Refused("already_exists", "a cache with the same key, version and scope already exists")
            return self._new(self.caches, branch, body["key"], body["version"])
        if method != "FinalizeCacheEntryUpload" or not entries:
            raise Refused("not_found", f"{method} of {body['key']}")
        entries[0].whole = True
        return {"ok": True, "entry_id": str(entries[0].number)}


def newest(caches: Sequence[Entry], scope: str, key: str) -> Entry | None:
    """The cache with that very key, else the newest whose key begins with it."""
    within = [each for each in caches if each.scope == scope and each.whole and each.name.startswith(key)]
    return next((each for each in within if each.name == key), within[-1] if within else None)


def _handler(results: Results) -> type[BaseHTTPRequestHandler]:
    class Service(BaseHTTPRequestHandler):
        def read(self) -> bytes:
            return self.rfile.read(int(self.headers["Content-Length"] or 0))

        def do_POST(self) -> None:
            content = self.read()
            try:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                claims = jwt.decode(token, results.key, ["HS256"])
                method = self.path.rpartition("/")[2]
                self.give(200, json.dumps(results.call(method, claims, json.loads(content))).encode())
            except jwt.InvalidTokenError as error:
                self.give(401, json.dumps({"code": "unauthenticated", "msg": str(error)}).encode())
            except Refused as error:
                code, said = error.args
                self.give(STATUS[code], json.dumps({"code": code, "msg": said}).encode())

        def do_PUT(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            blob, content = parts.path.rpartition("/")[2], self.read()
            if query.get("comp") == "block":
                results.blocks[blob, query["blockid"]] = content
            else:
                if query.get("comp") == "blocklist":
                    named = re.findall(r"<(?:Latest|Uncommitted)>([^<]+)<", content.decode())
                    content = b"".join(results.blocks.pop((blob, block)) for block in named)
                (results.folder / blob).write_bytes(content)
            self.give(201, b"")

        def do_GET(self) -> None:
            file = results.folder / urlsplit(self.path).path.rpartition("/")[2]
            kind = "application/zip" if file.suffix == ".zip" else "application/octet-stream"
            self.give(200, file.read_bytes(), kind) if file.is_file() else self.give(404, b"")

        def give(self, status: int, content: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Service


@contextmanager
def serving_results(folder: Path) -> Iterator[Results]:
    """One on a free port, which keeps its blobs in a folder."""
    results = Results(folder, secrets.token_hex(32))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(results))
    results.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield results
    finally:
        server.shutdown()
        server.server_close()
