"""One field of a form for a parameter that several networks have, and describe differently."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from mftasks.params import schemas

Number = Annotated[int, Meta(ge=1, le=8, title="Size", description="The first.")]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Annotated[int, Meta(ge=4, le=64)], {"type": "integer", "minimum": 1, "maximum": 64}),
        (Annotated[int, Meta(ge=0)], {"type": "integer", "minimum": 0}),
        (Annotated[int, Meta(gt=0, le=4)], {"type": "integer", "maximum": 8}),
        (Annotated[int, Meta(ge=1, le=8)], {"type": "integer", "minimum": 1, "maximum": 8}),
        (float, {}),
        (Literal["a", "b"], {}),
    ],
)
def test_the_field_takes_what_either_network_takes(kind: Any, expected: dict[str, Any]) -> None:
    assert merge(Number, kind) == {"title": "Size", "description": "The first.", **expected}


def test_the_field_offers_what_either_network_offers() -> None:
    assert merge(Literal["a", "b"], Literal["b", "c"])["enum"] == ["a", "b", "c"]


def test_a_pattern_of_one_network_alone_is_not_asked_of_the_other() -> None:
    assert "pattern" not in merge(Annotated[str, Meta(pattern="^a")], str)


def test_a_parameter_without_a_title_is_called_by_its_name() -> None:
    assert merge(int, int)["title"] == "Hidden size"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 10_000}, "a whole number from 1 to 10,000"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, "a number above 0 to 0.5"),
        (
            {"type": "number", "minimum": 0.0, "exclusiveMaximum": 1.0},
            "a number from 0 and below 1",
        ),
        ({"enum": ["adam", "sgd"]}, "one of adam, sgd"),
        ({"type": "boolean"}, "true or false"),
        ({"type": "array", "examples": [["a", "b"]]}, 'a list such as ["a", "b"]'),
        ({}, "a value"),
    ],
)
def test_a_schema_in_words(schema: dict[str, Any], words: str) -> None:
    assert schemas.describe(schema) == words


def merge(*kinds: Any) -> dict[str, Any]:
    """Return the schema of a parameter of networks that give it these types, by name."""
    usable: Any = {
        str(number): SimpleNamespace(Params=msgspec.defstruct("Shape", [("hidden_size", kind)]))
        for number, kind in enumerate(kinds)
    }
    return schemas.read_own_schemas(usable)["hidden_size"]
