"""Parameters as JSON schemas: what a form and the documentation are made of, and what a message asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from mftasks.networks import Network

WORDS = ("title", "description")
NOUNS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "an object",
}
WIDEST = {"minimum": min, "exclusiveMinimum": min, "maximum": max, "exclusiveMaximum": max}
BOUNDS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "exclusiveMaximum": "and below",
}


def read_fields(kind: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each field; its title is its name unless it has one of its own."""
    properties = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    return {
        name: {"title": name.replace("_", " ").capitalize(), **_flatten(field)}
        for name, field in properties.items()
    }


def read_schemas(kind: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each field that a person may choose: it has a description."""
    return {name: one for name, one in read_fields(kind).items() if "description" in one}


def read_own_schemas(usable: Mapping[str, Network]) -> dict[str, dict[str, Any]]:
    """Return the schema of each parameter of a network, wide enough for all networks that have it."""
    found: dict[str, dict[str, Any]] = {}
    for network in usable.values():
        for name, schema in read_fields(network.Params).items():
            found[name] = _widen(found[name], schema) if name in found else schema
    return found


def _flatten(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of "a number or null" as that of a number."""
    schema = dict(field)
    for kind in schema.pop("anyOf", ()):
        if "$ref" in kind:
            schema["type"] = "object"
        elif kind != {"type": "null"}:
            schema |= kind
    return schema


def _widen(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that takes what either takes, in the words of the first."""
    same = {key: value for key, value in one.items() if key in WORDS or other.get(key) == value}
    if (one.get("type"), "enum" in one) != (other.get("type"), "enum" in other):
        return {key: value for key, value in same.items() if key in WORDS}
    both = {key: WIDEST[key](one[key], other[key]) for key in WIDEST if key in one and key in other}
    if "enum" in one:
        both["enum"] = list(dict.fromkeys([*one["enum"], *other["enum"]]))
    return same | both


def describe(schema: Mapping[str, Any]) -> str:
    """Return in words what a schema asks for: `a whole number from 1 to 64`."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if schema.get("format") == "date-time":
        return "a moment such as 1998-04-01 or 1998-04-01T12:00:00Z"
    bounds = (f" {word} {schema[key]:,.16g}" for key, word in BOUNDS.items() if key in schema)
    text = NOUNS.get(schema.get("type", ""), "a value") + "".join(bounds)
    return f"{text} such as {json.dumps(schema['examples'][0])}" if "examples" in schema else text
