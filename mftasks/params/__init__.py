"""What may be chosen for a run: one description for the trigger form, `plan`, the CLI and the documentation.

A parameter is described where it belongs: one of a training in `records.TrainConfig`, of a split in
`records.SplitConfig`, of a network in its file, and the rest here. What is not given is as the preset
or the data set says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mftasks import networks
from mftasks.errors import InvalidPlan, did_you_mean, quote
from mftasks.params import schemas
from mftasks.records import DeviceKind, SplitConfig, Strategy, TrainConfig

DAY = r"\d{4}-\d{2}-\d{2}"
TIME = r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"
MOMENT = rf"^{DAY}({TIME}(Z|[+-]\d{{2}}:\d{{2}})?)?$"
EXACT = 2**53  # beyond, not every whole number is a float


class General(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters that belong to the run as a whole."""

    dataset: Annotated[
        str,
        Meta(
            title="Data set",
            description="A name of the catalogue, or a file:// or s3:// URI of CSV or Parquet with "
            "the columns user_id, item_id, rating and, if you like, timestamp.",
        ),
    ] = "ml-100k"
    networks: Annotated[
        tuple[str, ...] | None,
        Meta(title="Networks", description="The networks to train. Empty: all of them."),
    ] = None
    preset: Annotated[
        Literal["default", "notebook"],
        Meta(
            title="Preset",
            description="Where empty fields are taken from. default: chosen on validation data. "
            "notebook: the settings of the original notebook, without validation.",
        ),
    ] = "default"
    split: Annotated[
        Strategy | None,
        Meta(
            title="Split",
            description="canonical: a fold of ml-100k. hash: a rating keeps its part when the data "
            "grow. temporal: test on what came last. Empty: canonical for ml-100k, else hash.",
            extra_json_schema={"section": "Split"},
        ),
    ] = None
    device: Annotated[
        DeviceKind,
        Meta(
            title="Device",
            description="auto: a GPU if the worker has one, the CPU if it has none.",
            extra_json_schema={"section": "Training"},
        ),
    ] = "auto"
    devices: Annotated[
        int,
        Meta(ge=1, le=64),
        Meta(
            title="Devices",
            description="The number of devices of each training; they share every batch.",
            extra_json_schema={"section": "Training"},
        ),
    ] = 1
    overrides: Annotated[
        dict[str, dict[str, Any]],
        Meta(
            title="Overrides",
            description='Parameters of one network: {"mlp": {"epochs": 5}}. They win over all others.',
            extra_json_schema={"section": "Network"},
        ),
    ] = {}


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What was given, by where it belongs; `network` is of several networks, and not yet checked."""

    general: General
    split: dict[str, Any]
    training: dict[str, Any]
    network: dict[str, Any]


def parse(given: Mapping[str, Any]) -> Chosen:
    """Check what a person gave; raises `InvalidPlan` with a suggestion."""
    own = schemas.read_own_schemas(networks.survey()[0])
    kinds = {
        "general": schemas.read_schemas(General),
        "split": schemas.read_schemas(SplitConfig),
        "training": schemas.read_schemas(TrainConfig),
        "network": own,
    }
    refuse_unknown(given, [name for fields in kinds.values() for name in fields])
    asked = {
        kind: {name: given[name] for name in fields if given.get(name) is not None}
        for kind, fields in kinds.items()
    }
    return Chosen(
        general=General(**convert(asked["general"], General)),
        split=convert(asked["split"], SplitConfig),
        training=convert(asked["training"], TrainConfig),
        network=asked["network"],
    )


def refuse_unknown(given: Iterable[str], known: Iterable[str], of: str = "") -> None:
    """Raise `InvalidPlan` for the first name that is not known."""
    names = list(known)
    for name in given:
        if name not in names:
            raise InvalidPlan(f"unknown parameter {quote(name)}{of}{did_you_mean(name, names)}")


def convert(values: Mapping[str, Any], kind: type[msgspec.Struct], of: str = "") -> dict[str, Any]:
    """Return values in the types of the fields of `kind`; raises `InvalidPlan` for what cannot be."""
    known = schemas.read_schemas(kind)
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return {
        name: _convert_value(f"{of}{name}", value, types[name], known.get(name, {}))
        for name, value in values.items()
    }


def _convert_value(name: str, value: Any, kind: Any, schema: Mapping[str, Any]) -> Any:
    try:
        if schema.get("format") == "date-time":
            return _parse_moment(value)
        return msgspec.convert(_make_whole(value), kind)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        must = f"it must be {schemas.describe(schema)}" if schema else str(error)
        raise InvalidPlan(f"{name} cannot be {quote(value)}: {must}") from None


def _make_whole(value: Any) -> Any:
    """Return 5 for 5.0: a form of JSON knows one kind of number only."""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return int(value)
    return value


def _parse_moment(value: Any) -> datetime:
    """Return a moment in UTC, however it was spelt: it takes part in the split's fingerprint."""
    if not isinstance(value, str) or not re.fullmatch(MOMENT, value):
        raise ValueError(value)
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
