"""What a person may choose when triggering a run: one description for the form, the CLI and `plan`.

The DAG turns each field into a parameter of Airflow's trigger form, `python -m mftasks run --set`
takes the same names, and `plan` validates against the same types. None means: as the preset says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mftasks.errors import InvalidPlan, did_you_mean
from mftasks.records import (
    AtLeastOne,
    Count,
    DeviceKind,
    Fraction,
    NotNegative,
    Optimizer,
    Positive,
    Schedule,
    Strategy,
    Width,
)

Preset = Literal["default", "notebook"]


def _about(section: str, title: str, description: str, **rest: Any) -> Meta:
    bounds = {name: rest.pop(name) for name in ("ge", "gt", "le", "lt") if name in rest}
    return Meta(
        title=title,
        description=description,
        extra_json_schema={"section": section, **rest},
        **bounds,
    )


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hold the parameters of a run as a person gives them."""

    dataset: Annotated[
        str,
        _about(
            "Data",
            "Data set",
            "A name of the catalogue, or a file:// or s3:// URI of CSV or Parquet with the columns "
            "user_id, item_id, rating and, if you like, timestamp.",
        ),
    ] = "ml-100k"
    networks: Annotated[
        tuple[str, ...] | None,
        _about("Training", "Networks", "Which networks to train; all of them when left empty."),
    ] = None
    preset: Annotated[
        Preset,
        _about(
            "Training",
            "Preset",
            "default: chosen on validation data. notebook: the original settings, no validation.",
        ),
    ] = "default"
    device: Annotated[
        DeviceKind,
        _about(
            "Training", "Device", "auto: a GPU where the worker has one, the CPU where it has none."
        ),
    ] = "auto"
    devices: Annotated[
        AtLeastOne,
        _about("Training", "Devices", "How many each training uses; they share every batch."),
    ] = 1
    seed: Annotated[
        Count | None,
        _about("Training", "Seed", "Two runs with one seed give identical bundles."),
    ] = None
    split: Annotated[
        Strategy | None,
        _about(
            "Split",
            "Strategy",
            "canonical: a fold of ml-100k. hash: a rating keeps its part when the data grow. "
            "temporal: test on what came last.",
        ),
    ] = None
    fold: Annotated[
        Annotated[int, Meta(ge=1, le=5)] | None, _about("Split", "Fold", "1 to 5, of canonical.")
    ] = None
    test_fraction: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | None,
        _about("Split", "Test fraction", "Share of the ratings that hash keeps for testing."),
    ] = None
    valid_fraction: Annotated[
        Fraction | None,
        _about("Split", "Validation fraction", "Share that is kept for choosing the epoch."),
    ] = None
    test_from: Annotated[
        str | None,
        _about("Split", "Test from", "temporal tests on ratings from this moment on (ISO 8601)."),
    ] = None
    as_of: Annotated[
        str | None,
        _about("Split", "As of", "Leave out every rating from this moment on (ISO 8601)."),
    ] = None
    epochs: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)] | None, _about("Training", "Epochs", "At most.")
    ] = None
    batch_size: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        _about("Training", "Batch size", "Ratings per step of the optimizer."),
    ] = None
    optimizer: Annotated[
        Optimizer | None, _about("Training", "Optimizer", "adam, or sgd with momentum.")
    ] = None
    learning_rate: Annotated[
        Positive | None, _about("Training", "Learning rate", "At the start.")
    ] = None
    momentum: Annotated[Fraction | None, _about("Training", "Momentum", "Of sgd.")] = None
    schedule: Annotated[
        Schedule | None, _about("Training", "Schedule", "How the learning rate changes by epoch.")
    ] = None
    weight_decay: Annotated[
        NotNegative | None,
        _about("Training", "Weight decay", "The optimizer's own, on every weight."),
    ] = None
    l2: Annotated[
        NotNegative | None,
        _about("Training", "L2", "On the looked-up embedding rows, in the loss."),
    ] = None
    patience: Annotated[
        Count | None,
        _about("Training", "Patience", "Epochs without improvement that end it; 0 never does."),
    ] = None
    factors: Annotated[
        Width | None,
        _about("Network", "Factors", "k, the length of the embeddings."),
    ] = None
    hidden: Annotated[
        Width | None,
        _about("Network", "Hidden", "Units of the dense layers of mlp and resnet."),
    ] = None
    dropout: Annotated[Fraction | None, _about("Network", "Dropout", "Of resnet.")] = None
    biases: Annotated[
        bool | None, _about("Network", "Biases", "Add a bias for each user and item.")
    ] = None
    center: Annotated[
        bool | None, _about("Network", "Centre", "Predict the difference from the mean rating.")
    ] = None
    overrides: Annotated[
        dict[str, dict[str, Any]],
        _about(
            "Network",
            "Overrides",
            'Parameters of one network: {"mlp": {"epochs": 5}}. They win over those above.',
        ),
    ] = msgspec.field(default_factory=dict)


def parse(given: Mapping[str, Any]) -> Params:
    """Validate what a person gave; raises `InvalidPlan` with a suggestion."""
    known = [field.name for field in msgspec.structs.fields(Params)]
    for name in given:
        if name not in known:
            raise InvalidPlan(f"unknown parameter {name!r}{did_you_mean(name, known)}")
    try:
        return msgspec.convert(dict(given), Params)
    except msgspec.ValidationError as error:
        raise InvalidPlan(f"{error}; given: {dict(given)}") from error


def form() -> dict[str, dict[str, Any]]:
    """Return, by parameter, its default and JSON schema: what a trigger form is made of."""
    schema = msgspec.json.schema(Params)["$defs"]["Params"]["properties"]
    return {name: dict(field) for name, field in schema.items()}
