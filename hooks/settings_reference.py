"""Writes docs/settings.md: every key of pipeline.toml with its default, its bounds and its description.

make settings-reference
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from pipeline.schema import Data, Project, Quality, Settings

HEAD = """# All settings

The template makes this page from `src/pipeline/schema.py`.

`pipeline.toml` holds what you mean to set. Every other key has the default below. Any of them may stand in the file.
A variable of the environment beats the file: `MLOPS_`, the section, two underscores, the key, all in capitals.
Examples: `MLOPS_PERF__P95_MS=80`, `MLOPS_PERF__PROFILES__QUICK__ROUND_SECONDS=1`. A list is written as JSON.
In `[perf]`, `false` switches off a limit.
"""


# The least that a file has to say; what the other keys are then is their default.
LEAST = Settings(
    Project("name"), Data("classification", "target", path="data.csv", numeric=["column"]), Quality("roc_auc", 0.5)
)


def document() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_section(LEAST, ())])


def _section(section: msgspec.Struct, path: tuple[str, ...]) -> Iterator[str]:
    fields = msgspec.structs.fields(section)
    keys = [each for each in fields if get_origin(each.type) is Annotated]
    if keys:
        yield from (f"## `[{'.'.join(path)}]`", "", "| key | default | values | |", "|---|---|---|---|")
        for key in keys:
            factory = key.default_factory
            value = key.default if factory is msgspec.NODEFAULT else factory()
            default = "none: the file has to say it" if key.required else _toml(value)
            yield f"| `{key.name}` | {default} | {_values(key.type)} | {_description(key.type)} |"
        yield ""
    for each in fields:
        if each not in keys:
            yield from _section(getattr(section, each.name), (*path, each.name))


def _toml(value: Any) -> str:
    """As TOML writes it: of these types, as JSON does."""
    return "`false`" if value is None else f"`{msgspec.json.encode(value).decode()}`"


def _description(kind: Any) -> str:
    (meta,) = (each for each in kind.__metadata__ if each.description)
    return f"{meta.description}."


def _values(kind: Any) -> str:
    """What may stand there, in words."""
    if get_origin(kind) is Annotated:
        bounds = [_bounds(meta) for meta in kind.__metadata__]
        return " ".join(filter(None, [_values(get_args(kind)[0]), *bounds]))
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if type(None) in get_args(kind):
        return f"{_values(get_args(kind)[0])}; `false`"
    if get_origin(kind) is dict:
        return (
            f"a table of {_values(get_args(kind)[1]).removeprefix('a ')}{'' if get_args(kind)[1] is not str else 's'}"
        )
    if get_origin(kind) is list:
        return re.sub(r"^a (whole number|text)", r"a list of \1s", _values(get_args(kind)[0]))
    return {float: "a number", int: "a whole number", str: "a text", bool: "`true`, `false`"}[kind]


def _bounds(meta: msgspec.Meta) -> str:
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}
    given = {name: getattr(meta, name) for name in words if getattr(meta, name) is not None}
    return " ".join(f"{words[name]} {bound:g}" for name, bound in given.items() if abs(bound) < 1e300)


if __name__ == "__main__":
    Path("docs", "settings.md").write_text(document(), encoding="utf-8")
    sys.stdout.write("Wrote docs/settings.md.\n")
