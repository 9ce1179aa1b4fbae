"""Brings an MLflow store that is carried from run to run in line with the registry, whose tag champion says who it is.

    python -m release.restore --repository ghcr.io/owner/project [--from "a fork"]

The store is mlflow.db here, from the cache. Where it is lost, that of the last promotion is taken, an artifact of the
workflow; and where the champion is not in it, the champion comes back out of its own image: version, metrics, code and
bundle. Files of old versions go, so that the store stays small. With MLFLOW_TRACKING_URI the store is left alone.

--from: whose run it is, where that may not see what a run on main sees. Notes the champion in .mlops/champion.json
(pipeline.notes.Champion). Exit code 3: could not be done.
"""

import argparse
import io
import os
import shutil
import sys
import zipfile
from functools import partial
from pathlib import Path

from mlflow.exceptions import MlflowException

from perf.arms.arm import ArmError
from pipeline import command, notes
from pipeline.bundle import BundleError
from pipeline.notes import Champion
from pipeline.settings import SettingsError, load_settings
from release import production, repository
from release.github import api as rest
from release.repository import ImageError, Lookup
from training import registry, store

ARTIFACT = "mlflow"
MAX_ARTIFACT = 2_000_000_000  # bytes


def note_of(champion: Lookup, whose: str) -> Champion:
    """What the next stages have to know of the champion. `whose` run it is, where that may not see everything."""
    if not champion.image and whose:
        return Champion("", f"The champion cannot be seen from {whose} ({champion.why or 'not found'})")
    if not champion.image:  # ghcr.io says no more of a package that nobody has pushed yet
        return Champion("", champion.why and f"The registry does not say whether there is a champion ({champion.why})")
    labels = repository.labels(champion.image)
    left = repository.look_up(repository.repository_of(champion.image), repository.ROLLED_BACK).image
    taken_out = repository.labels(left).get(repository.INPUTS, "") if left else ""
    return Champion(
        champion.image, "", labels.get(repository.INPUTS, ""), labels.get(repository.REVISION, ""), taken_out
    )


def check_moved(name: str, images: str) -> None:
    """Raises ImageError where MLflow's champion is served from another repository than `images`, which has none."""
    champion = registry.find(registry.connect(name), name, registry.CHAMPION)
    image = champion.tags.get("image", "") if champion else ""
    if champion and production.in_registry(image) and repository.repository_of(image) != images:
        tag = repository.tagged(images, repository.CHAMPION)
        raise ImageError(
            f"{images} has no champion, but MLflow's, version {champion.version}, is {image}. Was the repository "
            "renamed, or the variable REGISTRY changed? Bring it along: "
            f"docker buildx imagetools create --tag {tag} {image}"
        )


def restore(name: str, champion: Lookup, folder: Path, say: production.Say) -> None:
    """Does what is needed to the store in `folder`, and says it."""
    if not (folder / "mlflow.db").is_file():
        say(_fetch(folder))
    try:
        client = registry.connect(name)
    except store.StoreError as error:  # a library update was taken back
        say(f"{error.message}. In a workflow it goes: what counts is in the champion's image.")
        (folder / "mlflow.db").unlink()
        shutil.rmtree(folder / "mlartifacts", ignore_errors=True)
        client = registry.connect(name)
    if not champion.image:
        return
    version = registry.find(client, name, registry.CHAMPION)
    if version is not None and version.tags.get("image") == champion.image and production.whole(version):
        say(f"MLflow and the registry agree: the champion is version {version.version}.")
    else:
        adopted = production.adopt(client, name, champion.image, say)
        if adopted is None:
            return
        version = adopted.version
        for key, value in adopted.tags.items():
            client.set_model_version_tag(name, version.version, key, value)
        client.set_registered_model_alias(name, registry.CHAMPION, str(version.version))
        say(f"MLflow's alias champion now names version {version.version}, as the registry does.")
    production.prune(client, version, say)


def _fetch(folder: Path) -> str:
    """Unpacks the store that the last run on main left as an artifact, if there is one; says what was done."""
    if "GITHUB_TOKEN" not in os.environ:
        return "No MLflow store came from the cache."
    try:
        data = _newest(rest.connect(os.environ))
    except rest.GitHubError as error:
        return f"No MLflow store came from the cache, and GitHub does not say whether it keeps one ({error})."
    if data is None:
        return "No MLflow store came from the cache, and no run has left one."
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(folder)  # of a run on main in this very repository, as _newest promises
    except zipfile.BadZipFile as error:
        return f"No MLflow store came from the cache, and the one that the last run on main left is damaged ({error})."
    return "No MLflow store came from the cache: took the one that the last run on main left."


def _newest(github: rest.GitHub) -> bytes | None:
    """The zip of the newest store of a run on main of this very repository; None where there is none."""
    main = rest.default_branch(os.environ)
    stores = [
        each
        for each in rest.pages(github, f"{github.path}/actions/artifacts", "artifacts", name=ARTIFACT)
        if not each["expired"]
        and each["workflow_run"]
        and each["workflow_run"]["head_branch"] == main
        # A fork may have a branch of that name as well, and what its workflows make is no store of ours.
        and each["workflow_run"]["head_repository_id"] == each["workflow_run"]["repository_id"]
    ]
    return rest.download(github, max(stores, key=lambda each: int(each["id"])), MAX_ARTIFACT) if stores else None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.restore", description=__doc__.split("\n")[0])
    parser.add_argument("--repository", required=True, help="of the images, such as ghcr.io/owner/project")
    parser.add_argument("--from", dest="whose", default="", metavar="WHOM", help="whose run may not see everything")
    arguments = parser.parse_args(argv)
    try:
        name, images = load_settings().project.name, repository.canonical(arguments.repository)
        champion = repository.look_up(images)
        note = note_of(champion, arguments.whose)
        notes.write(Path(), note)
        if note.unseen:
            print(f"{note.unseen}.")
        elif not champion.image:
            print("There is no champion yet.")
        if uri := os.environ.get("MLFLOW_TRACKING_URI"):
            print(f"MLflow is at {registry.without_password(uri)}: nothing to restore.")
        else:
            restore(name, champion, Path.cwd(), partial(print, flush=True))
        if not champion.image and not note.unseen:
            check_moved(name, images)
    except (SettingsError, MlflowException, ArmError, BundleError, OSError) as error:
        print(f"Cannot restore MLflow's store: {registry.complaint(error)}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
