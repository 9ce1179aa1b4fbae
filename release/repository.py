"""The repository of the project's images in a registry: its name, and which of its images is the champion."""

import json
import re
from typing import NamedTuple

from perf.arms.arm import ArmError
from perf.arms.containers import docker

CHAMPION = "champion"
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
    repository = "/".join([registry, *(SEPARATORS.sub(_separator, part).strip("._-") for part in path)])
    if not REPOSITORY.fullmatch(repository):
        raise ImageError(f"{given}: give registry and path without a tag, as in ghcr.io/owner/project")
    return repository


def _separator(match: re.Match[str]) -> str:
    return match[0] if match[0] in (".", "_", "__") or set(match[0]) == {"-"} else "-"


def champion(repository: str) -> str:
    """The image, by digest, behind the tag champion of a repository; empty where there is no such tag.

    Raises ImageError where the registry cannot be asked: a champion that is there must not be overlooked.
    """
    there = look_up(repository)
    if there.why:
        raise ImageError(f"{repository}:{CHAMPION} cannot be looked up ({there.why})")
    return there.image


def look_up(repository: str) -> Lookup:
    """Likewise, for those who may not be allowed to see it: then `why` says what the registry answered.

    Raises ImageError where the registry does not answer.
    """
    reference = f"{repository}:{CHAMPION}"
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
    return Lookup(f"{repository}@{images[0]['digest'] if len(images) == 1 else manifest['digest']}")


def point(image: str, version: str) -> None:
    """Sets a tag that keeps an image, which is named by digest, findable by its version, and then the tag champion.

    Raises ImageError where the registry refuses, or where the tag stands for something else afterwards.
    """
    repository = image.partition("@")[0]
    # One after the other: asked for a manifest by one tag while it is put under another, a registry answered with 500.
    for tag in (f"{CHAMPION}-{version}", CHAMPION):
        try:
            docker("buildx", "imagetools", "create", f"--tag={repository}:{tag}", image)
        except ArmError as error:
            raise ImageError(f"the tag {tag} cannot be set on {image} ({last_line(error)})") from None
    if (now := champion(repository)) != image:
        raise ImageError(f"{repository}:{CHAMPION} is {now or 'gone'} although it was just set on {image}")


def last_line(error: ArmError) -> str:
    return (error.log.strip().splitlines() or [str(error)])[-1]
