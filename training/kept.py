"""A version that is what training would make: it is kept, with its bundle, and nothing is registered."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline import bundle as bundles
from pipeline import notes
from pipeline.bundle import BundleError
from training import registry
from training.progress import console, note

INPUTS, BUNDLE, BESIDE = "inputs_sha256", "bundle_sha256", "beside"  # made of; came out; the champion it was judged by


class Known(NamedTuple):
    """The versions that may be kept, each with whose it is, and the project that would keep one."""

    client: MlflowClient
    versions: list[tuple[ModelVersion, str]]
    champion: str  # its version; empty: none
    root: Path
    preview: str


def known(client: MlflowClient, name: str, champion: ModelVersion | None, root: Path, preview: str) -> Known:
    found = [(champion, "the champion's")]
    found += [] if preview else [(registry.find(client, name, registry.CANDIDATE), "the candidate's")]
    found += [(each, "which was rolled back") for each in registry.taken_out(client, name)]
    versions = [(version, whose) for version, whose in found if version is not None]
    return Known(client, versions, str(champion.version) if champion else "", root, preview)


def keep(those: Known, key: str, digest: str, made_of: str, why: str) -> bool:
    """Keeps the first of the versions whose tag `key` is that digest, if there is one.

    made_of: pipeline.bundle.model_inputs, which the version is tagged with. why: it is kept, for the person who waits.
    """
    for version, whose in those.versions:
        beside = version.tags.get(BESIDE)  # it was judged beside another champion: it has to be judged again
        if version.tags.get(key) == digest and those.champion in (str(version.version), beside):
            return _take(those, version, whose, made_of, why, fitted=key == BUNDLE)
    return False


def _take(those: Known, version: ModelVersion, whose: str, made_of: str, why: str, fitted: bool) -> bool:
    """Takes a version for the model; False where its files are gone, or src/model would not run with them."""
    number, root = str(version.version), those.root
    try:
        with tempfile.TemporaryDirectory() as scratch:
            bundle = bundles.read(Path(registry.download_snapshot(version, scratch)) / "bundle")
            if bundle.card.code_sha256 != bundles.code_digest(root / "src" / "model"):
                return False
            names = [*bundle.card.files, bundles.MODEL_CARD]
            files = {name: path.read_bytes() for name in names if (path := bundle.folder / name).is_file()}
            bundles.write(root / "bundle", files, bundle.card)
    except (MlflowException, BundleError, OSError) as error:
        reason = registry.complaint(error)
        note([f"trained again, since the files of version {number} cannot be had: {reason}"])
        return False
    if not those.preview:
        those.client.set_model_version_tag(version.name, number, INPUTS, made_of)
        those.client.set_registered_model_alias(version.name, registry.CANDIDATE, number)
    notes.write(root, msgspec.structs.replace(registry.quality(version), version=number, kept=number, fitted=fitted))
    console.print(
        f"{why}: it stays version [bold]{number}[/bold], {whose}, with the bundle/ of that. To train all the "
        "same: make train FORCE=1"
    )
    return True
