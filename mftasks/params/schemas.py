"""Parameters as JSON schemas: what a form and the documentation are made of, and what a message asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from mftasks.networks import Network

WORDS = ("title", "description")


def read_schemas(kind: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each field that has a title."""
    return {name: schema for name, schema in _read_fields(kind).items() if "title" in schema}


def _read_fields(kind: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    properties = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    return {name: _flatten(field) for name, field in properties.items()}


def _flatten(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of "a number or null" as that of a number."""
    schema = dict(field)
    for kind in schema.pop("anyOf", ()):
        if kind != {"type": "null"}:
            schema |= kind
    return schema


def read_own_schemas(usable: Mapping[str, Network]) -> dict[str, dict[str, Any]]:
    """Return the schema of each parameter of a network, wide enough for all networks that have it."""
    found: dict[str, dict[str, Any]] = {}
    for network in usable.values():
        for name, field in _read_fields(network.Params).items():
            schema = {"title": name.replace("_", " ").capitalize(), **field}
            found[name] = _widen(found[name], schema) if name in found else schema
    return found


def _widen(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that takes what either takes, in the words of the first."""
    same = {key: value for key, value in one.items() if key in WORDS or other.get(key) == value}
    if (one.get("type"), "enum" in one) != (other.get("type"), "enum" in other):
        return {key: value for key, value in same.items() if key in WORDS}
    widest = {"minimum": min, "exclusiveMinimum": min, "maximum": max, "exclusiveMaximum": max}
    both = {
        key: pick(one[key], other[key])
        for key, pick in widest.items()
        if key in one and key in other
    }
    if "enum" in one:
        both["enum"] = list(dict.fromkeys([*one["enum"], *other["enum"]]))
    return same | both


def describe(schema: Mapping[str, Any]) -> str:
    """Return in words what a schema asks for: `a whole number from 1 to 64`."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if schema.get("format") == "date-time":
        return "a moment such as 1998-04-01 or 1998-04-01T12:00:00Z"
    kind = schema.get("type", "anything")
    noun = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "text",
        "array": "a list",
        "object": "an object of objects",
    }.get(kind if isinstance(kind, str) else "", "a value")
    return noun + "".join(_describe_bounds(schema))


def _describe_bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    words = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "and below",
    }
    return (
        f" {word} {_drop_zeros(schema[bound])}" for bound, word in words.items() if bound in schema
    )


def _drop_zeros(bound: float) -> str:
    return f"{int(bound) if float(bound).is_integer() else bound:,}"
