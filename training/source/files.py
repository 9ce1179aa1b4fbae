"""The files of [data] path: one, a folder of them, or a pattern; here, in a store of objects, or on the web.

Stores are reached by pyarrow.fs, with what the environment says of keys: https://arrow.apache.org/docs/python/filesystems.html
"""

import fnmatch
import io
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import NamedTuple
from unicodedata import normalize
from urllib.parse import unquote

import pyarrow as pa
import requests
from pyarrow import fs

from pipeline.bundle import file_sha256
from training.source.rows import DataError

TABLES = (".csv", ".tsv", ".parquet", ".pq")  # the files of a folder that are read, packed or not
PACKED = (".gz", ".bz2", ".xz", ".zst")
SCHEMES = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "abfs", "abfs": "abfs", "abfss": "abfss"}  # as pyarrow calls them
WEB = ("https", "http")
PATIENCE = 30.0  # s without a byte
RETRIES = 10  # s of trying again
OPTIONS = re.compile(r"\?[\w-]+=.*")  # behind an address, and no pattern
WILD = re.compile(r"[*?\[]")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
BROKEN = (  # what went wrong on the web
    (requests.exceptions.SSLError, "its certificate is not good"),
    (requests.exceptions.ConnectTimeout, "the server cannot be reached"),
    (requests.exceptions.Timeout, f"the server said nothing for {PATIENCE:.0f} s"),
    (requests.exceptions.ChunkedEncodingError, "it broke off before its end"),
    (requests.exceptions.ConnectionError, "the server cannot be reached, or broke off"),
    (requests.exceptions.TooManyRedirects, "it leads from one address to the next"),
    (requests.exceptions.InvalidURL, "that is no address"),
)
VERSIONS = ("versionid", "generation", "etag", "last-modified")  # what tells two contents apart, the surest first


class File(NamedTuple):
    name: str  # for people, without a password
    path: str  # as its system has it
    size: int
    version: str  # as its store tells two contents apart; empty: it does not
    system: fs.FileSystem | None = None  # none: a file of this machine
    url: str = ""  # of the web
    keys: Mapping[str, str] = MappingProxyType({})  # what the folders below the one that was named say: year=2024

    def open(self) -> io.BufferedReader:
        """Raises DataError."""
        with explained(self.name):
            if self.system is None:
                return Path(self.path).open("rb")
            return io.BufferedReader(self.system.open_input_file(self.path), 2**20)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turns what goes wrong between here and a store into a DataError of one line."""
    try:
        yield
    except (OSError, pa.ArrowException, requests.RequestException) as error:
        raise DataError(f"{name}: {_reason(error)}") from None


def find(path: str) -> list[File]:
    """In order of their names. Raises DataError where there is none."""
    name, scheme = public(path), path.partition("://")[0].lower() if "://" in path else ""
    if scheme in WEB:
        return [_on_the_web(path)]
    if scheme and scheme not in SCHEMES:
        known = ", ".join(f"{each}://" for each in (*SCHEMES, "https"))
        raise DataError(f"{name}: nothing is read from {scheme}:// (pipeline.toml, data.path); it may be {known}")
    with explained(name):
        if not scheme:
            system, inner, before = None, path, ""
            infos = _listed(fs.LocalFileSystem(), path)
        else:
            system, inner = _store(path, scheme)
            before = f"{scheme}://"
            infos = _listed(system, inner)
        if not infos:
            raise DataError(f"{name}: {_nothing(inner, bool(scheme))} (pipeline.toml, data.path)")
        with ThreadPoolExecutor(16) as pool:
            versions = list(pool.map(lambda info: _version(system, info), infos))
    return [
        File(
            f"{before}{info.path}" if len(infos) > 1 or info.path != inner else name,
            info.path,
            info.size,
            of,
            system,
            keys=_keys(info.path, inner),
        )
        for info, of in zip(infos, versions, strict=True)
    ]


def _keys(path: str, inner: str) -> dict[str, str]:
    """What the folders of a file below the one that was named say, as Hive and Spark write it: year=2024."""
    folders = PurePosixPath(path).relative_to(top(inner) or ".").parts[:-1]
    said = [folder.partition("=") for folder in folders if "=" in folder]
    return {normalize("NFC", unquote(key)): "" if value == NO_VALUE else unquote(value) for key, _, value in said}


def _store(path: str, scheme: str) -> tuple[fs.FileSystem, str]:
    """A store, and the path in it."""
    rest = path.partition("://")[2]
    if scheme == "az" and "@" not in rest:
        account, key = map(os.environ.get, ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY"))
        return fs.AzureFileSystem(account or "", account_key=key or None), rest
    given = OPTIONS.search(rest)
    # Otherwise it would try to reach Google's for a quarter of an hour.
    options = given[0] if given else f"?retry_limit_seconds={RETRIES}" if SCHEMES[scheme] == "gs" else ""
    place, _, inner = rest[: given.start() if given else None].partition("/")
    system, top = fs.FileSystem.from_uri(f"{SCHEMES[scheme]}://{place}{options}")
    return system, f"{top}/{inner}".rstrip("/")


def public(path: str) -> str:
    """A path or an address without what nobody else should read: a user, a password, a signature."""
    if "://" not in path:
        return path
    scheme, _, rest = OPTIONS.sub("", path).partition("://")
    place, slash, inner = rest.partition("/")
    if "@" in inner and ":" in place and not place.rpartition(":")[2].isdigit():  # a slash in a password
        place, slash, inner = rest.rpartition("@")[2].partition("/")
    who, _, host = place.rpartition("@")
    if who and scheme.startswith("abfs") and ":" not in who:  # Azure's container@account
        host = place
    return f"{scheme}://{host}{slash}{inner.partition('#')[0]}"


def identity(file: File) -> str:
    """What differs where the content does: a hash of it, or what its store says. Empty: nobody knows without reading.

    Raises DataError.
    """
    if file.system is None and not file.url:
        with explained(file.name):
            return file_sha256(Path(file.path))
    return file.version and f"{file.size} {file.version}"


@contextmanager
def at_hand(files: Sequence[File]) -> Iterator[list[File]]:
    """The files, those of the web fetched for as long as this lasts. Raises DataError."""
    with tempfile.TemporaryDirectory() as folder:
        yield [_fetched(file, Path(folder, str(n))) if file.url else file for n, file in enumerate(files)]


def changed(file: File) -> bool:
    """Whether a file is another than when it was found. Raises DataError."""
    if file.url:
        return False  # it was compared when it was fetched
    with explained(file.name):
        info = (file.system or fs.LocalFileSystem()).get_file_info(file.path)
        there = info.type == fs.FileType.File
        return not there or (info.size, _version(file.system, info)) != (file.size, file.version)


def _listed(system: fs.FileSystem, path: str) -> list[fs.FileInfo]:
    found = system.get_file_info(path)
    if found.type == fs.FileType.File:
        return [found]
    base, pattern = top(path), re.compile(_expression(path)) if WILD.search(path) else None
    infos = system.get_file_info(fs.FileSelector(base or ".", recursive=True, allow_not_found=True))
    found = []
    for info in infos:
        inside = PurePosixPath(info.path).relative_to(PurePosixPath(base or "."))
        if info.type != fs.FileType.File or any(part.startswith((".", "_")) for part in inside.parts):
            continue  # such as _SUCCESS, and the half of a file that a writer has not finished
        if pattern.fullmatch(info.path.removeprefix("./")) if pattern else _is_table(inside):
            found.append(info)
    return sorted(found, key=lambda info: str(info.path))


def top(path: str) -> str:
    """Where a path leads, without a pattern: the folder in which that looks; empty: the one that this runs in."""
    wild = WILD.search(path)
    base = path[: path.rfind("/", 0, wild.start()) + 1] if wild else path
    return base.rstrip("/") or base[:1]


def _is_table(path: PurePosixPath) -> bool:
    name = path.name.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    return name.endswith(TABLES)


def _expression(pattern: str) -> str:
    """A pattern as a regular expression: * stays within a folder, ** does not."""
    parts = []
    for part in pattern.removeprefix("./").split("/"):
        within = fnmatch.translate(part).removeprefix("(?s:").removesuffix(r")\Z").removesuffix(r")\z")
        parts.append("(?:.+/)?" if part == "**" else within.replace(".*", "[^/]*") + "/")
    return "".join(parts).removesuffix("/")


def _nothing(path: str, in_store: bool) -> str:
    if WILD.search(path):
        return "no file has such a name"
    if not in_store and Path(path).is_dir():
        return f"no {' or '.join(TABLES)} file in it"
    return "no such file"


def _version(system: fs.FileSystem | None, info: fs.FileInfo) -> str:
    if system is None:
        return f"{info.size}-{info.mtime_ns}"
    with system.open_input_file(info.path) as file:
        said = {
            str(key).lower(): value.decode(errors="replace").strip('"')
            for key, value in (file.metadata() or {}).items()
        }
    said |= {"last-modified": said.get("last-modified", "") or str(info.mtime_ns or "")}
    return next((f"{key} {said[key]}" for key in VERSIONS if said.get(key) not in (None, "", "null")), "")


def _on_the_web(url: str) -> File:
    name = public(url)
    with explained(name), requests.get(url, stream=True, timeout=PATIENCE) as answer:
        answer.raise_for_status()
        return File(name, url, *_said(answer), url=url)


def _said(answer: requests.Response) -> tuple[int, str]:
    """Size and version, as headers say."""
    said = {key.lower(): value.strip('"') for key, value in answer.headers.items()}
    version = next((f"{key} {said[key]}" for key in VERSIONS if said.get(key)), "")
    size = said.get("content-length", "")
    return int(size) if size.isdigit() else 0, version


def _fetched(file: File, path: Path) -> File:
    with explained(file.name), requests.get(file.url, stream=True, timeout=PATIENCE) as answer:
        answer.raise_for_status()
        with path.open("wb") as copy:
            for piece in answer.iter_content(2**20):
                copy.write(piece)
        if _said(answer) != (file.size, file.version):
            raise DataError(f"{file.name}: it has changed since this run began; run it again")
    return file._replace(path=str(path))


def _reason(error: Exception) -> str:
    """What to say of an error, in one line, and what to do."""
    said = " ".join(str(error).split())
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.RequestException):
        what = next((what for kind, what in BROKEN if isinstance(error, kind)), "")
        return f"cannot be fetched: {what}" if what else f"cannot be fetched ({type(error).__name__})"
    hints = {
        "valid account name": "whose store it is has to be in the environment (AZURE_STORAGE_ACCOUNT)",
        "DefaultAzureCredential": "the environment has no key for it (AZURE_STORAGE_KEY, or what `az login` leaves)",
        "OAuth2 access token": "the environment has no key for it (GOOGLE_APPLICATION_CREDENTIALS)",
        "ACCESS_DENIED": "the key that the environment has may not read it, or is wrong (AWS_ACCESS_KEY_ID)",
        "INVALID_ACCESS_KEY_ID": "nobody knows the key that the environment has (AWS_ACCESS_KEY_ID)",
        "SIGNATURE_DOES_NOT_MATCH": "the key that the environment has is not the right one (AWS_SECRET_ACCESS_KEY)",
        "NETWORK_CONNECTION": "the store cannot be reached; is its address right (AWS_ENDPOINT_URL)?",
    }
    hint = next((hint for sign, hint in hints.items() if sign in said), "")
    why = getattr(error, "strerror", None) or said
    return hint or f"cannot be read ({str(why)[:300]})"
