"""What may be chosen for a run: one description for the trigger form, `plan`, the CLI and the documentation.

A parameter is described where it belongs: one of a training in `records.TrainConfig`, of a split in
`records.SplitConfig`, of a file in `records.ReadConfig`, of a network in its file, and the rest
here. What is not given comes from the preset or the data set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from mftasks import networks
from mftasks.data import uris
from mftasks.errors import InvalidPlan, did_you_mean, quote
from mftasks.params import schemas
from mftasks.records import DeviceKind, ReadConfig, SplitConfig, Strategy, TrainConfig

DAY = r"\d{4}-\d{2}-\d{2}"
TIME = r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"
MOMENT = rf"^{DAY}({TIME}(Z|[+-]\d{{2}}:\d{{2}})?)?$"


class General(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters that belong to the run as a whole."""

    dataset: Annotated[
        str,
        Meta(
            title="Data set",
            description="A name of the catalogue, or where ratings of your own are: a path, or a URI that "
            "begins with file://, s3:// or https://; a file, a folder of parts, or a pattern with *.",
        ),
    ] = "ml-100k"
    networks: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="The networks to train. Empty: all of them.",
            extra_json_schema={"examples": [["linear", "mlp"]]},
        ),
    ] = None
    preset: Annotated[
        Literal["default", "notebook"],
        Meta(
            description="Where empty fields are taken from. default: chosen on validation data. "
            "notebook: the settings of the original notebook, without validation."
        ),
    ] = "default"
    split: Annotated[
        Strategy | None,
        Meta(
            description="canonical: a fold of ml-100k. hash: a rating keeps its part when the data "
            "grow. temporal: test on what came last. Empty: canonical for ml-100k, else hash.",
            extra_json_schema={"section": "Split"},
        ),
    ] = None
    device: Annotated[
        DeviceKind,
        Meta(
            description="auto: a GPU if the worker has one, the CPU if it has none.",
            extra_json_schema={"section": "Training"},
        ),
    ] = "auto"
    devices: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="The number of devices of each training; they share every batch.",
            extra_json_schema={"section": "Training"},
        ),
    ] = 1
    overrides: Annotated[
        dict[str, dict[str, Any]],
        Meta(
            description='Parameters of one network: {"mlp": {"epochs": 5}}. They win over all others.',
            extra_json_schema={"section": "Network", "examples": [{"mlp": {"epochs": 5}}]},
        ),
    ] = {}


KINDS = (General, ReadConfig, SplitConfig, TrainConfig)


class Chosen(NamedTuple):
    """What was given, by where it belongs; `network` is of several networks, and not yet checked."""

    general: General
    reading: ReadConfig
    split: dict[str, Any]
    training: dict[str, Any]
    network: dict[str, Any]


def parse(given: Mapping[str, Any]) -> Chosen:
    """Check what a person gave; a path becomes a URI. Raises `InvalidPlan` with a suggestion."""
    own = schemas.read_own_schemas(networks.survey()[0])
    known = {kind: schemas.read_schemas(kind) for kind in KINDS}
    refuse_unknown(given, [name for fields in (*known.values(), own) for name in fields])
    asked = {name: value for name, value in given.items() if value is not None}
    general, reading, split, training = (
        convert({name: asked[name] for name in fields if name in asked}, kind)
        for kind, fields in known.items()
    )
    if "dataset" in general:
        general["dataset"] = uris.complete(general["dataset"])
    network = {name: value for name, value in asked.items() if name in own}
    return Chosen(General(**general), ReadConfig(**reading), split, training, network)


def refuse_unknown(given: Iterable[str], known: Iterable[str], of: str = "") -> None:
    """Raise `InvalidPlan` for the first name that is not known."""
    names = list(known)
    for name in given:
        if name not in names:
            raise InvalidPlan(f"unknown parameter {quote(name)}{of}{did_you_mean(name, names)}")


def convert(values: Mapping[str, Any], kind: type[msgspec.Struct], of: str = "") -> dict[str, Any]:
    """Return values in the types of the fields of `kind`; raises `InvalidPlan` for what cannot be."""
    known = schemas.read_fields(kind)
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return {
        name: _convert_value(f"{of}{name}", value, types[name], known[name])
        for name, value in values.items()
    }


def _convert_value(name: str, value: Any, kind: Any, schema: Mapping[str, Any]) -> Any:
    try:
        if schema.get("format") == "date-time":
            return _parse_moment(value)
        if isinstance(value, float) and value.is_integer():
            return msgspec.convert(int(value), kind)  # a form of JSON knows one kind of number only
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError):
        must = schemas.describe(schema)
        raise InvalidPlan(f"{name} cannot be {quote(value)}: it must be {must}") from None


def _parse_moment(value: Any) -> datetime:
    """Return a moment in UTC, however it was spelt: it takes part in the split's fingerprint."""
    if not isinstance(value, str) or not re.fullmatch(MOMENT, value):
        raise ValueError(value)
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
