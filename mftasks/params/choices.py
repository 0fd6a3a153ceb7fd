"""Every parameter as people see it: in the trigger form, and in the documentation.

python -m mftasks parameters
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from mftasks import networks
from mftasks.params import General, schemas
from mftasks.records import ReadConfig, SplitConfig, TrainConfig, format_scalar

if TYPE_CHECKING:
    from mftasks.networks import Network

SECTIONS = ("", "Data", "Split", "Training", "Network")
SET_BY_DEFAULT = SECTIONS[:2]
"""The others are empty: what stands for them depends on the preset and the data set."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter with its words, and its bounds as a JSON schema of one type."""

    name: str
    title: str
    description: str
    section: str
    default: Any
    schema: dict[str, Any]


def list_choices() -> list[Choice]:
    """Return every parameter, section by section."""
    usable, _ = networks.survey()
    groups = {
        "": schemas.read_schemas(General),
        "Data": schemas.read_schemas(ReadConfig),
        "Split": schemas.read_schemas(SplitConfig),
        "Training": schemas.read_schemas(TrainConfig),
        "Network": schemas.read_own_schemas(usable),
    }
    found = [
        _describe(name, schema, section, usable)
        for section, fields in groups.items()
        for name, schema in fields.items()
    ]
    return sorted(found, key=lambda one: SECTIONS.index(one.section))


def write_markdown() -> str:
    """Return a table of every parameter, as the documentation has it, and the networks left out."""
    rows = (
        f"| `{one.name}` | {one.description}{_describe_default(one)} | {schemas.describe(one.schema)} |"
        for one in list_choices()
    )
    left_out = (f"\nLeft out: {error}" for error in networks.survey()[1].values())
    return "\n".join(["| parameter | what | must be |", "|---|---|---|", *rows, *left_out])


def _describe_default(choice: Choice) -> str:
    return f" Default: {choice.default}." if choice.default else ""


def _describe(
    name: str, schema: dict[str, Any], section: str, usable: Mapping[str, Network]
) -> Choice:
    default = schema.pop("default", None)
    text = [schema.pop("description", ""), _describe_empty(name, usable)]
    return Choice(
        name=name,
        title=schema.pop("title"),
        description=" ".join(filter(None, text)),
        default=default if section in SET_BY_DEFAULT else None,
        section=schema.pop("section", section),
        schema=schema,
    )


def _describe_empty(name: str, usable: Mapping[str, Network]) -> str:
    """Return what an empty field stands for, such as `Empty: 12 for mlp and resnet, 10 for linear`."""
    default, notebook = (_describe_preset(name, usable, one) for one in networks.PRESET_NAMES)
    if not default:
        return ""
    return (
        f"Empty: {default}." if notebook == default else f"Empty: {default}; notebook: {notebook}."
    )


def _describe_preset(name: str, usable: Mapping[str, Network], preset: str) -> str:
    """Name the networks of each value that a parameter has, unless all have the same one."""
    by_value: dict[str, list[str]] = {}
    for network, module in usable.items():
        config = module.PRESETS[preset]
        params = msgspec.to_builtins(msgspec.convert(config.params, module.Params))
        values = msgspec.to_builtins(config) | params
        if name in values:
            by_value.setdefault(format_scalar(values[name]), []).append(network)
    if list(by_value.values()) == [list(usable)]:
        return next(iter(by_value))
    return ", ".join(f"{value} for {' and '.join(who)}" for value, who in by_value.items())
