"""The settings of a project: pipeline.toml, checked, with environment variables on top."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Struct

from pipeline.schema import Perf, Settings

PREFIX = "MLOPS_"
# What people call the types that msgspec names.
WORDS = {
    "float | null": "a number or false",
    "float": "a number",
    "int": "a whole number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a section",
}


class SettingsError(ValueError):
    """pipeline.toml or the environment says something that cannot be; the message names the key."""


def load_settings(root: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the project in `root` (default: the working directory); `MLOPS_<SECTION>__<KEY>` beats the file.

    Raises SettingsError where the file is missing, is not TOML, or a key is unknown, missing or out of range.
    """
    path = (root or Path.cwd()) / "pipeline.toml"
    if not path.is_file():
        raise SettingsError(f"{path}: no such file; run from the project's root")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        for name, value in environment.items():
            if name.startswith(PREFIX) and "__" in name:
                _put(values, name.removeprefix(PREFIX).lower().split("__"), _parsed(name, value))
        if isinstance(perf := values.get("perf"), dict):
            values["perf"] = {key: _switched(key, value) for key, value in perf.items()}
        return msgspec.convert(values, Settings, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_sentence(str(error), environment)}") from None
    except ValueError as error:  # not TOML, not UTF-8, or a variable that is not JSON where a list is due
        raise SettingsError(f"{path}: {error}") from None


def _put(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = values.get(key)
        values[key] = values = dict(inner) if isinstance(inner, dict) else {}
    values[keys[-1]] = value


def _parsed(name: str, text: str) -> Any:
    """A list is JSON; everything else stays text, which the schema converts."""
    try:
        return msgspec.json.decode(text) if text.startswith("[") else text
    except msgspec.DecodeError:
        raise ValueError(f"{name} is {text!r}, which is no list in JSON") from None


def _switched(key: str, value: Any) -> Any:
    """None for a limit of [perf] that false switches off."""
    off = value is False or value == "false"
    return (
        None
        if off and any(each.name == key and _optional(each.type) for each in msgspec.structs.fields(Perf))
        else value
    )


def _optional(kind: Any) -> bool:
    return type(None) in get_args(get_args(kind)[0] if get_origin(kind) is Annotated else kind)


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"Expected `{kind.__name__}`")


def _sentence(message: str, environment: Mapping[str, str]) -> str:
    """What msgspec says in people's words: the key, what is wrong, and the variable that it came from."""
    text, _, place = message.partition(" - at `$")
    keys = [key for key in place.strip("`").split(".") if key]
    if unknown := re.fullmatch(r"Object contains unknown field `(.+)`", text):
        keys, text = [*keys, unknown[1]], "there is no such key"
        if near := difflib.get_close_matches(unknown[1], _names(Settings), n=1):
            text += f"; did you mean {near[0]}?"
    elif missing := re.fullmatch(r"Object missing required field `(.+)`", text):
        keys, text = [*keys, missing[1]], "is missing"
    elif wrong := re.fullmatch(r"Invalid enum value (.+)", text):
        text = f"{wrong[1]} is none of: {', '.join(_choices(Settings, keys))}"
    elif "matching regex" in text:
        text = "only lower-case letters, digits and single hyphens between them"
    for type_, words in WORDS.items():
        text = text.replace(f"`{type_}`", words)
    variable = "__".join([PREFIX + keys[0], *keys[1:]]).upper() if keys else PREFIX
    given = [name for name in environment if name == variable or name.startswith(f"{variable}__")]
    return f"{'.'.join(keys)}: {text}{f' (from {given[0]})' if given else ''}".removeprefix(": ")


def _choices(kind: Any, keys: list[str]) -> tuple[str, ...]:
    """The values that the key at this place may have."""
    for key in keys:
        (kind,) = (each.type for each in msgspec.structs.fields(kind) if each.name == key)
    return get_args(get_args(kind)[0])


def _names(kind: type[Struct]) -> list[str]:
    """All keys and sections of a struct, those of its own structs as well."""
    return [
        name
        for each in msgspec.structs.fields(kind)
        for name in (each.name, *(_names(each.type) if isinstance(each.type, type(Struct)) else ()))
    ]
