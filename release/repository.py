"""The repository of the project's images in a registry: its name, and which of its images is the champion."""

import json
import re
from typing import NamedTuple

from perf.arms.arm import ArmError
from perf.arms.containers import docker

CHAMPION, ROLLED_BACK = "champion", "rolled-back"  # tags: the image in production, and the last one that was taken out
# Labels of our images: what they are made of, the champion that they were measured beside, and the commit.
INPUTS, REPLACES, REVISION = "mlops.inputs-sha256", "mlops.replaces", "org.opencontainers.image.revision"
REPOSITORY = re.compile(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*)+")
SEPARATORS = re.compile(r"[._-]+")
# What registries say of a repository that is not there, or that this token shall not know of.
UNSEEN = re.compile(r"name unknown|name_unknown|denied|unauthorized|forbidden|\b40[13]\b", re.IGNORECASE)


class ImageError(ArmError):
    """The image cannot be built, looked up or moved; the message says why and what to do."""


class Lookup(NamedTuple):
    image: str  # by digest; empty: there is none
    why: str = ""  # the registry would not say; empty: it did


def canonical(given: str) -> str:
    """A repository's name as registries want it: in lower case, with separators of GitHub's that they refuse replaced.

    Raises ImageError where it is no repository, or names a tag.
    """
    registry, *path = given.lower().split("/")
    parts = (SEPARATORS.sub(_separator, part).strip("._-") or (part and "image") for part in path)
    repository = "/".join([registry, *parts])
    if not REPOSITORY.fullmatch(repository):
        raise ImageError(f"{given}: give registry and path without a tag, as in ghcr.io/owner/project")
    return repository


def _separator(match: re.Match[str]) -> str:
    return match[0] if match[0] in (".", "_", "__") or set(match[0]) == {"-"} else "-"


def tagged(repository: str, name: str) -> str:
    """A reference by tag, to a repository whose name is canonical."""
    return f"{repository}:{name}"


def by_digest(repository: str, digest: str) -> str:
    """A reference that no push can move."""
    return f"{repository}@{digest}"


def repository_of(image: str) -> str:
    """The repository of an image that is named by digest."""
    return image.partition("@")[0]


def champion(repository: str) -> str:
    """The image, by digest, behind the tag champion of a repository; empty where there is no such tag.

    Raises ImageError where the registry cannot be asked: a champion that is there must not be overlooked.
    """
    there = look_up(repository)
    if there.why:
        raise ImageError(f"{tagged(repository, CHAMPION)} cannot be looked up ({there.why})")
    return there.image


def look_up(repository: str, name: str = CHAMPION) -> Lookup:
    """Likewise, for those who may not be allowed to see it: then `why` says what the registry answered.

    Raises ImageError where the registry does not answer.
    """
    reference = tagged(repository, name)
    try:
        manifest = json.loads(docker("buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", reference))
    except ArmError as error:
        why = last_line(error)
        if f"{reference}: not found" in error.log:
            return Lookup("")
        if UNSEEN.search(why):
            return Lookup("", why)
        raise ImageError(f"{reference} cannot be looked up ({why})") from None
    images = manifest.get("manifests", [])
    # Older versions of buildx set a tag on an index of their own around the one image that they were given.
    return Lookup(by_digest(repository, images[0]["digest"] if len(images) == 1 else manifest["digest"]))


def labels(image: str) -> dict[str, str]:
    """The labels of an image in a registry, without pulling it. Raises ImageError where it cannot be asked."""
    try:
        found = json.loads(docker("buildx", "imagetools", "inspect", "--format", "{{json .Image}}", image))
    except ArmError as error:
        raise ImageError(f"{image} cannot be looked up ({last_line(error)})") from None
    # One image, or with an SBOM beside it one for each platform, of which the SBOM's has no labels.
    for each in [found, *found.values()]:
        if isinstance(each, dict) and (known := each.get("config", {}).get("Labels")):
            return dict(known)
    return {}


def of_version(version: str) -> str:
    """The tag of the image with which a version was champion last."""
    return f"{CHAMPION}-{version}"


def point(image: str, version: str) -> None:
    """Sets a tag by which the image of a version is found again, and then the tag champion.

    Raises ImageError where the registry refuses, or where the tag stands for something else afterwards.
    """
    repository = repository_of(image)
    # One after the other: asked for a manifest by one tag while it is put under another, a registry answered with 500.
    for name in (of_version(version), CHAMPION):
        tag(image, name)
    if (now := champion(repository)) != image:
        raise ImageError(f"{tagged(repository, CHAMPION)} is {now or 'gone'} although it was just set on {image}")


def tag(image: str, name: str) -> None:
    """Sets a tag on an image. Raises ImageError where the registry refuses."""
    try:
        docker("buildx", "imagetools", "create", f"--tag={tagged(repository_of(image), name)}", image)
    except ArmError as error:
        raise ImageError(f"the tag {name} cannot be set on {image} ({last_line(error)})") from None


def last_line(error: ArmError) -> str:
    return (error.log.strip().splitlines() or [str(error)])[-1]
