"""Every parameter as people see it: in the trigger form, and in the documentation.

python -m mftasks parameters
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from mftasks import networks
from mftasks.params import General, schemas
from mftasks.records import SplitConfig, TrainConfig

if TYPE_CHECKING:
    from mftasks.networks import Network

SECTIONS = ("", "Split", "Training", "Network")


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
    found = [
        *_describe(schemas.read_schemas(General), "", usable, with_default=True),
        *_describe(schemas.read_schemas(SplitConfig), "Split", usable),
        *_describe(schemas.read_schemas(TrainConfig), "Training", usable),
        *_describe(schemas.read_own_schemas(usable), "Network", usable),
    ]
    return sorted(found, key=lambda one: SECTIONS.index(one.section))


def write_markdown() -> str:
    """Return a table of every parameter, as the documentation has it."""
    rows = (
        f"| `{one.name}` | {one.description}{_describe_default(one)} | {schemas.describe(one.schema)} |"
        for one in list_choices()
    )
    return "\n".join(["| parameter | what | must be |", "|---|---|---|", *rows])


def _describe_default(choice: Choice) -> str:
    return f" Default: {choice.default}." if choice.default else ""


def _describe(
    fields: Mapping[str, dict[str, Any]],
    section: str,
    usable: Mapping[str, Network],
    *,
    with_default: bool = False,
) -> Iterator[Choice]:
    for name, full in fields.items():
        schema = dict(full)
        default = schema.pop("default", None)
        text = [schema.pop("description", ""), _describe_defaults(name, usable)]
        yield Choice(
            name=name,
            title=schema.pop("title"),
            description=" ".join(filter(None, text)),
            section=schema.pop("section", section),
            default=default if with_default else None,
            schema=schema,
        )


def _describe_defaults(name: str, usable: Mapping[str, Network]) -> str:
    """Return what an empty field stands for, such as `Empty: 12 for mlp and resnet, 10 for linear`."""
    default, notebook = (_find_defaults(name, usable, preset) for preset in networks.PRESET_NAMES)
    if not default:
        return ""
    every = len(default) == len(usable)
    text = f"Empty: {_describe_values(default, every)}"
    if notebook == default:
        return f"{text}."
    return f"{text}; notebook: {_describe_values(notebook, every)}."


def _find_defaults(name: str, usable: Mapping[str, Network], preset: str) -> dict[str, Any]:
    """Return the value that each network has for a parameter, if it has one."""
    found = {}
    for network, module in usable.items():
        config = module.PRESETS[preset]
        own = msgspec.to_builtins(msgspec.convert(config.params, module.Params))
        values = {**msgspec.to_builtins(config), **own}
        if name in values:
            found[network] = values[name]
    return found


def _describe_values(values: Mapping[str, Any], every: bool) -> str:
    """Name the networks of each value, unless `every` network has the same one."""
    by_value: dict[str, list[str]] = {}
    for network, value in values.items():
        by_value.setdefault(_describe_value(value), []).append(network)
    if every and len(by_value) == 1:
        return next(iter(by_value))
    return ", ".join(f"{value} for {' and '.join(who)}" for value, who in by_value.items())


def _describe_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
