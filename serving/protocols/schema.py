"""JSON Schema, in short."""

from typing import Any

Schema = dict[str, Any]

ANYTHING: Schema = {"type": "object"}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
REFERENCE = "#/components/schemas/{name}"


def fields(**properties: Schema) -> Schema:
    """An object with these fields, all of them required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def ref(name: str) -> Schema:
    """What openapi.py has among its components."""
    return {"$ref": REFERENCE.format(name=name)}
