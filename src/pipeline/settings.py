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

from pipeline.schema import Perf, Quality, Settings

PREFIX = "MLOPS_"
LIMITED: dict[str, type[Struct]] = {"perf": Perf, "quality": Quality}
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
        values = written = _without_limits(tomllib.loads(path.read_text(encoding="utf-8")))
        for name, value in environment.items():
            if name.startswith(PREFIX) and "__" in name:
                values = _with(values, name.removeprefix(PREFIX).lower().split("__"), _parsed(name, value))
        settings = msgspec.convert(_without_limits(values), Settings, strict=False)
        # A variable is a text, and "80" is a number in it; in the file it is none.
        typed = msgspec.to_builtins(settings, enc_hook=str)
        return msgspec.convert(_overlaid(typed, written, values), Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_sentence(str(error), environment)}") from None
    except ValueError as error:  # not TOML, not UTF-8, or a variable that is not JSON where a list is due
        raise SettingsError(f"{path}: {error}") from None


def _with(values: dict[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    """The values with another one, by section and key."""
    inner = values.get(keys[0])
    return values | {keys[0]: _with(inner if isinstance(inner, dict) else {}, keys[1:], value) if keys[1:] else value}


def _without_limits(values: dict[str, Any]) -> dict[str, Any]:
    """The values with None for each limit of [perf] and [quality] that false switches off."""
    limited = {name: kind for name, kind in LIMITED.items() if isinstance(values.get(name), dict)}
    return values | {
        name: {key: _switched(kind, key, value) for key, value in values[name].items()}
        for name, kind in limited.items()
    }


def _overlaid(typed: Any, written: Any, values: Any) -> Any:
    """What the schema has made of the values; where no variable has changed one, as it is written."""
    if isinstance(typed, dict) and isinstance(written, dict) and isinstance(values, dict):
        return {key: _overlaid(each, written.get(key), values.get(key)) for key, each in typed.items()}
    return written if written is not None and written is values else typed


def _parsed(name: str, text: str) -> Any:
    """A list or a table is JSON; everything else stays text, which the schema converts."""
    try:
        return msgspec.json.decode(text) if text.startswith(("[", "{")) else text
    except msgspec.DecodeError:
        raise ValueError(f"{name} is {text!r}, which is no {'list' if text[0] == '[' else 'table'} in JSON") from None


def _switched(section: type[Struct], key: str, value: Any) -> Any:
    """None for a limit that false switches off."""
    off = value is False or value == "false"
    known = any(each.name == key and _optional(each.type) for each in msgspec.structs.fields(section))
    return None if off and known else value


def _optional(kind: Any) -> bool:
    return type(None) in get_args(get_args(kind)[0] if get_origin(kind) is Annotated else kind)


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
    if text.startswith("Expected `str`, got"):
        text += "; put it in quotes"
    if text.endswith(", got `str`") and text.startswith(("Expected `float", "Expected `int`", "Expected `bool`")):
        text += "; take the quotes away"
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
