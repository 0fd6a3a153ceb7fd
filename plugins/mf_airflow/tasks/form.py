"""Make Airflow's trigger form of the parameters that `mftasks.params` describes.

What a form can refuse while somebody types, Airflow refuses before a run is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from mftasks import networks, params
from mftasks.data import catalog
from mftasks.params import choices

if TYPE_CHECKING:
    from mftasks.params.choices import Choice

URI = r"(/|file:///|s3://[^/]+/|https?://[^/]+/).+"


def make_params(defaults: Mapping[str, Any]) -> dict[str, Param]:
    """Return one `Param` per parameter: drop-downs, bounds, and empty if the preset decides.

    Raises `InvalidPlan` for `defaults` that are no parameters.
    """
    params.parse(defaults)
    return {
        one.name: _make_param(one, defaults.get(one.name, one.default))
        for one in choices.list_choices()
    }


def _make_param(choice: Choice, default: Any) -> Param:
    schema = {**_allow_empty(choice.schema), **_suggest(choice.name)}
    if choice.section:
        schema["section"] = choice.section
    return Param(default, description=choice.description, title=choice.title, **schema)


def _allow_empty(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that takes null as well: the form marks all others as required."""
    given = dict(schema)
    if given.get("type") == "boolean":
        # The form's switch knows only on and off: a drop-down can be left empty.
        given = {"enum": [True, False]}
    if given.get("format") == "date-time":
        # The form's picker wants a time of day, too.
        given["pattern"] = params.MOMENT
        del given["format"]
    if "enum" in given:
        given["enum"] = [*given["enum"], None]
        given["values_display"] = {"null": "(empty)"}
    elif "type" in given:
        given["type"] = [given["type"], "null"]
    return given


def _suggest(name: str) -> dict[str, Any]:
    """Return what the form offers and refuses, if the choice depends on what there is."""
    if name == "dataset":
        known = "|".join(map(re.escape, catalog.DATASETS))
        return {
            "type": "string",
            "examples": list(catalog.DATASETS),
            "pattern": f"^({known}|{URI})$",
        }
    if name == "networks":
        usable = list(networks.survey()[0])
        return {
            "examples": usable,
            "items": {"type": "string", "enum": usable},
            "uniqueItems": True,
        }
    return {}
