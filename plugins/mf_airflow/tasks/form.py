"""Make Airflow's trigger form of the parameters that `mftasks.params` describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from mftasks import networks, params
from mftasks.data import catalog


def trigger_params(defaults: Mapping[str, Any]) -> dict[str, Param]:
    """Return one `Param` per field: sections, drop-downs, and empty where the preset decides.

    Raises `InvalidPlan` for `defaults` that are no parameters.
    """
    params.parse(defaults)
    suggestions: dict[str, dict[str, Any]] = {
        "dataset": {"examples": list(catalog.DATASETS)},
        "networks": {"examples": list(networks.names())},
    }
    return {
        name: _param({**field, **suggestions.get(name, {})}, defaults.get(name, field["default"]))
        for name, field in params.form().items()
    }


def _param(field: dict[str, Any], default: Any) -> Param:
    schema = _flat(field)
    del schema["default"]
    return Param(default, description=schema.pop("description"), **schema)


def _flat(field: dict[str, Any]) -> dict[str, Any]:
    """Write "a number or null" as the form wants it: one schema whose type is a list."""
    kinds = field.pop("anyOf", None)
    if kinds is None:
        return {"type": "string", **field}
    (schema,) = (dict(kind) for kind in kinds if kind != {"type": "null"})
    if schema.get("type") == "boolean":
        # The form's switch knows only on and off: a drop-down can be left empty.
        schema = {"enum": [True, False]}
    else:
        schema["type"] = [schema.get("type", "string"), "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
        schema["values_display"] = {"null": "by default"}
    return {**field, **schema}
