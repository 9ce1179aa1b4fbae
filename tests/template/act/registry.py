"""A registry that asks for tokens as ghcr.io does, on 127.0.0.1: Debian's docker-registry, and who hands them out.

A package is private until somebody makes it public. Of one that is private, or that is not there at all, a stranger is
told DENIED, and not which of both. Who may write makes it by pushing to it. Every token is noted.

https://distribution.github.io/distribution/spec/auth/token and /spec/auth/jwt
"""

import base64
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import jwt
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SERVICE, ISSUER = "the registry of the tests", "tests"
WRITER, READER = "a-writer's-password", "a-reader's-password"
RIGHTS = {WRITER: {"pull", "push"}, READER: {"pull"}}  # by password, as that of a job's own token


class Handed(NamedTuple):
    """A token that was asked for."""

    password: str  # empty: a stranger
    repository: str
    allowed: frozenset[str]


@dataclass
class Registry:
    """A running registry."""

    address: str
    tokens: str  # the URL that hands them out
    public: set[str] = field(default_factory=set)  # repositories that anybody may pull
    known: set[str] = field(default_factory=set)  # that somebody has pushed to
    handed: list[Handed] = field(default_factory=list)

    def allowed(self, password: str, repository: str, wanted: set[str]) -> set[str]:
        rights = RIGHTS.get(password, set())
        if "push" in wanted & rights:
            self.known.add(repository)
        if repository in self.known:
            return wanted & (rights | ({"pull"} if repository in self.public else set()))
        return set()

    def pushed_by(self, password: str) -> list[Handed]:
        """What somebody was allowed to write to."""
        return [each for each in self.handed if each.password == password and "push" in each.allowed]

    def digest(self, repository: str, tag: str) -> str:
        """The digest of an image behind a tag, through an index of one if buildx made that; empty: there is none."""
        if repository not in self.known:
            return ""
        kinds = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
        kinds += ", application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        user = base64.b64encode(f"x:{READER}".encode()).decode()
        asked = f"{self.tokens}?scope=repository:{repository}:pull"
        token = _read(asked, Authorization=f"Basic {user}")[0]["token"]
        url = f"http://{self.address}/v2/{repository}/manifests/{tag}"
        try:
            manifest, headers = _read(url, Accept=kinds, Authorization=f"Bearer {token}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return ""
            raise
        images = manifest.get("manifests", [])
        return str(images[0]["digest"] if len(images) == 1 else headers["Docker-Content-Digest"])


def _read(url: str, **headers: str) -> tuple[Any, Any]:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer), answer.headers


def _certificate(folder: Path) -> rsa.RSAPrivateKey:
    """The key that signs tokens; its certificate, which the registry trusts, is cert.pem in the folder."""
    key, now = rsa.generate_private_key(65537, 2048), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ISSUER)])
    valid = now, now + timedelta(days=1)
    signed = x509.CertificateBuilder(name, name, key.public_key(), 1, *valid).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "cert.der").write_bytes(signed.public_bytes(serialization.Encoding.DER))
    return key


def _handler(registry: Registry, key: rsa.RSAPrivateKey, chain: str) -> type[BaseHTTPRequestHandler]:
    class Tokens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            basic = self.headers.get("Authorization", "").removeprefix("Basic ")
            _, _, password = base64.b64decode(basic).decode().partition(":")
            self.hand_out(password, parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.hand_out(asked.get("password", [""])[0], asked)

        def hand_out(self, password: str, asked: dict[str, list[str]]) -> None:
            if password and password not in RIGHTS:
                return self.give(401, {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]})
            access = []
            for scope in " ".join(asked.get("scope", [])).split():
                _, repository, actions = scope.split(":")
                allowed = registry.allowed(password, repository, set(actions.split(",")))
                registry.handed.append(Handed(password, repository, frozenset(allowed)))
                if not allowed:
                    denied = {"code": "DENIED", "message": "requested access to the resource is denied"}
                    return self.give(403, {"errors": [denied]})
                access.append({"type": "repository", "name": repository, "actions": sorted(allowed)})
            now = int(time.time())
            claims = {"iss": ISSUER, "sub": "", "aud": SERVICE, "exp": now + 600, "nbf": now - 10, "iat": now}
            token = jwt.encode({**claims, "jti": str(now), "access": access}, key, "RS256", headers={"x5c": [chain]})
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return self.give(200, {"token": token, "access_token": token, "expires_in": 600, "issued_at": stamp})

        def give(self, status: int, value: object) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Tokens


@contextmanager
def serving_registry(folder: Path) -> Iterator[Registry]:
    """One on a free port of 127.0.0.1, which keeps its images in a folder. Raises RuntimeError with its log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    key = _certificate(folder)
    chain = base64.b64encode((folder / "cert.der").read_bytes()).decode()
    tokens = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    registry = Registry(address, f"http://127.0.0.1:{tokens.server_address[1]}/token")
    tokens.RequestHandlerClass = _handler(registry, key, chain)
    threading.Thread(target=tokens.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    auth = {"realm": registry.tokens, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(folder / "cert.pem")}
    storage = {"filesystem": {"rootdirectory": str(folder / "storage")}}
    config = {"version": 0.1, "storage": storage, "http": {"addr": address}, "auth": {"token": auth}}
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{address}/v2/", timeout=1).close()
            except urllib.error.HTTPError:  # 401: it is there
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError((folder / "log").read_text())
        yield registry
    finally:
        process.terminate()
        process.wait()
        tokens.shutdown()
        tokens.server_close()
