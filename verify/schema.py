"""JSON Schema of what a dataclass looks like in a file (draft 2020-12).

``typed`` reads by the same annotations, so that what a schema says is what is accepted.
"""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

SIMPLE: dict[Any, dict[str, str]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    Any: {},
}


def schema(kind: Any) -> dict[str, Any]:
    """Return the schema of a type: a dataclass, or what its fields may be."""
    if kind in SIMPLE:
        return dict(SIMPLE[kind])
    if dataclasses.is_dataclass(kind):
        return _object(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema(each) for each in inner]}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(inner[1])}
    if origin is list or (origin is tuple and inner[-1] is ...):
        return {"type": "array", "items": schema(inner[0])}
    if origin is tuple:
        places = [schema(each) for each in inner]
        return {"type": "array", "prefixItems": places, "items": False, "minItems": len(places)}
    raise TypeError(f"{kind}: a file has nothing like this")


def _object(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {
        "title": kind.__name__,
        "description": (kind.__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": {f.name: schema(hints[f.name]) for f in dataclasses.fields(kind)},
        "required": [f.name for f in dataclasses.fields(kind) if _has_no_default(f)],
        "additionalProperties": False,
    }


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
