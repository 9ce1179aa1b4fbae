"""The bundle: all that serving needs, in one folder that is whole or not there.

Where scikit-learn serves, skops stores the model: to load it makes objects of the types that it holds and runs nothing.
"""

import ctypes
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from pipeline.schema import Kind, Settings

CONTRACT_VERSION = 1
LARGEST = 3.4028234663852886e38  # number that is taken, of either sign: of float32, which the model is fed
WHOLE = 2**24  # the largest number below which a float32 holds every whole one
CARD = "card.json"
MODEL_CARD = "MODEL_CARD.md"  # the same for people
CONTRACT = "contract.json"
REQUESTS = "requests.jsonl"
SERVED = ("serving", "src", "bundle", "pipeline.toml")  # of a project: what it takes to serve a version
# Whose types an estimator may hold. `model`: src/model.
OWN, LIBRARIES = ("model", "pipeline"), ("sklearn", "numpy", "scipy", "pandas")
TRUSTED = (*OWN, *LIBRARIES, "lightgbm", "xgboost", "catboost", "imblearn")
# Of a partial, the function is looked at by itself. LightGBM keeps its scores in the others.
HARMLESS = {"functools.partial", "collections.OrderedDict", "collections.defaultdict"}
REQUIREMENTS = {"onnx": "serve", "sklearn": "serve-sklearn"}  # that serve a model, by its runtime
MODELS: dict[str, str] = {"onnx": "model.onnx", "sklearn": "model.skops"}


class BundleError(ValueError):
    """The bundle cannot be served; the message says why and what to do."""


class StoredError(ValueError):
    """An estimator cannot be loaded; the message says why and what to do."""


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of the data file as a request sends it."""

    name: str
    type: Kind
    nullable: bool  # training saw a missing value here
    categories: list[str] = []  # text: the values that training saw; others are accepted, the model knows them not
    gap: bool = False  # training saw none missing, and the model has an answer all the same
    format: str = ""  # date: of `datetime.strptime`, beside ISO 8601
    missing: list[str] = []  # words that stand for a missing value


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of what `model.data.derive` makes of a record: what the model itself is fed."""

    name: str
    type: Literal["number", "text"]
    nullable: bool = True  # number: the runtime's answer may be asked for where there is none


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service accepts and answers. Training writes it, serving enforces it, nothing else decides."""

    version: int
    task: Literal["classification", "regression"]
    fields: list[Field]
    unused: list[str]  # columns of the data file that the model does not use: accepted and ignored
    columns: list[Column]
    classes: list[str]  # classification: in the order of the model's probabilities; regression: empty


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who the model is and where it comes from: card.json, and the answer of GET /model."""

    name: str
    version: str
    run_id: str
    git_sha: str
    created: str  # ISO 8601, UTC
    task: Literal["classification", "regression"]
    runtime: Literal["onnx", "sklearn"]
    reason: str  # why ONNX does not serve; empty where it does
    metrics: dict[str, float]  # on the held-out part
    data: dict[str, Any]
    parity: dict[str, float]
    libraries: dict[str, str]
    files: dict[str, str]  # sha256 of every other file of the bundle
    bundle_sha256: str  # of `files`: equal for equal data, code and seed, whatever the run
    code_sha256: str  # of src/model, which the service runs on every record
    inputs_sha256: str = ""  # of all that made the model: pipeline.bundle.model_inputs


class Bundle(NamedTuple):
    folder: Path
    card: Card
    contract: Contract

    @property
    def model(self) -> Path:
        return self.folder / MODELS[self.card.runtime]


def encode_contract(contract: Contract) -> bytes:
    """The contract as the bytes of contract.json."""
    return msgspec.json.format(msgspec.json.encode(contract), indent=2) + b"\n"


def decode_contract(data: bytes) -> Contract:
    """The contract in the bytes of contract.json. Raises ValueError where they are not one of this version."""
    contract = msgspec.json.decode(data, type=Contract)
    if contract.version != CONTRACT_VERSION:
        raise ValueError(f"contract version {contract.version}; this code speaks version {CONTRACT_VERSION}")
    return contract


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Likewise of a file that may be larger than memory. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(files: Mapping[str, str]) -> str:
    """One hash for a set of named hashes, whatever their order."""
    return sha256("".join(f"{name} {files[name]}\n" for name in sorted(files)).encode())


def code_digest(package: Path) -> str:
    """One hash for the Python files of a package."""
    return digest({str(path.relative_to(package)): sha256(path.read_bytes()) for path in package.rglob("*.py")})


def model_inputs(root: Path, settings: Settings, data: str) -> str:
    """Of the code that trains, its libraries and its part of pipeline.toml; data: what tells it from other data."""
    part = {"name": settings.project.name, "data": settings.data}
    part |= {"training": settings.training, "quality": settings.quality}
    files = [*_files(root, "src", "training"), root / ".python-version", root / "requirements" / "train.txt"]
    return _digest(root, files, part, {"data": data})


def service_inputs(root: Path, settings: Settings, bundle_sha256: str, runtime: str) -> str:
    """Of a bundle, the code that serves it, its libraries, the Dockerfile and its part of pipeline.toml."""
    part = {
        "project": settings.project,
        "serving": settings.serving,
        "perf": [settings.perf.p95_ms, settings.perf.max_error_rate],
    }
    more = {"trusted": settings.training.trusted}
    requirements = root / "requirements" / f"{REQUIREMENTS[runtime]}.txt"
    files = [*_files(root, "src", "serving"), requirements]
    files += [root / name for name in (".python-version", ".dockerignore", "Dockerfile")]
    return _digest(root, files, part | more, {"bundle": bundle_sha256})


def _files(root: Path, *folders: str) -> Iterator[Path]:
    """What lies in folders, links followed; not what tools leave behind."""
    for folder in folders:
        for where, inside, names in os.walk(root / folder, followlinks=True):
            inside[:] = [name for name in inside if not name.startswith(".") and name != "__pycache__"]
            yield from (Path(where, name) for name in names if not name.startswith("."))


def _digest(root: Path, files: Iterable[Path], part: dict[str, Any], more: dict[str, str]) -> str:
    hashes = {path.relative_to(root).as_posix(): sha256(path.read_bytes()) for path in files if path.is_file()}
    settings = msgspec.json.encode(msgspec.to_builtins(part, enc_hook=str), order="deterministic")
    return digest({**hashes, **{f"[{key}]": value for key, value in more.items()}, "[settings]": sha256(settings)})


def write(folder: Path, files: Mapping[str, bytes], card: Card) -> None:
    """Replaces the bundle in `folder` at one stroke: killed at any moment, the old one or the new one is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(stale)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    draft.chmod(0o755)
    card_bytes = msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"
    for name, data in {**files, CARD: card_bytes}.items():
        with (draft / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    if folder.exists():
        _exchange(draft, folder)
        shutil.rmtree(draft)
    else:
        draft.rename(folder)


def read(folder: Path) -> Bundle:
    """The bundle in `folder`, every file checked against the card. Raises BundleError."""
    try:
        return _read(folder)
    except OSError as error:
        raise BundleError(f"{error.filename or folder}: cannot be read ({error.strerror or error})") from None


def _read(folder: Path) -> Bundle:
    if not (folder / CARD).is_file():
        raise BundleError(f"{folder}: no bundle there (no {CARD}); run `make train`")
    try:
        card = msgspec.json.decode((folder / CARD).read_bytes(), type=Card)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BundleError(f"{folder / CARD}: {error}; run `make train`") from None
    for name, expected in card.files.items():
        path = folder / name
        if not path.is_file() or sha256(path.read_bytes()) != expected:
            state = "differs from what its card names" if path.is_file() else "is missing"
            raise BundleError(f"{path}: {state}, so the bundle is incomplete or damaged; run `make train`")
    missing = {MODELS[card.runtime], CONTRACT, REQUESTS} - card.files.keys()
    if missing:
        raise BundleError(f"{folder / CARD}: names no {', '.join(sorted(missing))}; run `make train`")
    try:
        return Bundle(folder, card, decode_contract((folder / CONTRACT).read_bytes()))
    except ValueError as error:
        raise BundleError(f"{folder / CONTRACT}: {error}; run `make train`") from None


def load_estimator(data: bytes, trusted: Sequence[str] = ()) -> Any:
    """The estimator of `skops.io.dumps`. `trusted`: packages besides TRUSTED. Raises StoredError."""
    import skops.io  # noqa: PLC0415  an image that serves ONNX does not hold it

    packages = (*TRUSTED, *trusted)
    prefixes = tuple(f"{package}." for package in packages)
    types = skops.io.get_untrusted_types(data=data)
    if foreign := sorted(each for each in types if not each.startswith(prefixes) and each not in HARMLESS):
        raise StoredError(
            f"it holds {', '.join(foreign[:5])}, and only types of these packages are loaded: "
            f"{', '.join(packages)}; `trusted` under [training] in pipeline.toml may name more"
        )
    try:
        return skops.io.loads(data, trusted=types)
    except Exception as error:  # of skops, and of whatever the estimator is made of
        why = " ".join(str(error).split())[:300]
        raise StoredError(
            f"it cannot be loaded ({type(error).__name__}: {why}); what it holds has to be defined at the top level of "
            "a module, with def or class"
        ) from error


def _exchange(one: Path, other: Path) -> None:
    """Swaps two folders atomically where the system can (renameat2 on Linux, renamex_np on macOS)."""
    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(one), os.fsencode(other)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE and RENAME_SWAP
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        done = libc.renameat2(here, paths[0], here, paths[1], swap) == 0
    elif sys.platform == "darwin":
        done = libc.renamex_np(paths[0], paths[1], swap) == 0
    else:
        done = False
    if not done:  # a file system without it: two renames, and a moment between them with no bundle
        aside = one.with_name(one.name + ".old")
        other.rename(aside)
        one.rename(other)
        aside.rename(one)
