"""Written by `plan`: what a run is to do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from mftasks.records.reading import ReadConfig
from mftasks.records.record import AtLeastOne, Fraction, Record

Strategy = Literal["canonical", "hash", "temporal"]
Optimizer = Literal["adam", "sgd"]
DeviceKind = Literal["auto", "cpu", "gpu"]
Scalar = bool | int | float | str

MOMENT = {"format": "date-time", "examples": ["1998-04-01", "1998-04-01T12:00:00Z"]}


def format_scalar(value: Scalar) -> str:
    """Return the value of a parameter as people read it: yes or no, and a number without needless digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


class SplitConfig(Record, frozen=True, kw_only=True):
    """How ratings are divided into train, valid and test; users choose what has a description.

    `valid_fraction` is a share of all ratings under `hash`, and otherwise of those before the test;
    under `temporal` it is cut from the end of these, and None makes it as large a share of them as
    the test part is of all. Moments are in UTC.
    """

    strategy: Strategy
    fold: Annotated[
        Annotated[int, Meta(ge=1, le=5)] | None,
        Meta(description="The fold of ml-100k that split canonical tests on. Empty: 1."),
    ] = None
    test_fraction: Annotated[
        Annotated[float, Meta(ge=0.001, le=0.9)] | None,
        Meta(description="The share of ratings that split hash tests on. Empty: 0.2."),
    ] = None
    valid_fraction: Annotated[
        Annotated[float, Meta(ge=0, le=0.9)] | None,
        Meta(
            title="Validation fraction",
            description="The share of ratings that choose the epoch and the best network. Empty: "
            "0.1, or, under split temporal, that of the test part; notebook: 0.",
        ),
    ] = 0.1
    test_from: Annotated[
        datetime | None,
        Meta(
            description="Split temporal tests on ratings from this moment on, in UTC.",
            extra_json_schema=MOMENT,
        ),
    ] = None
    as_of: Annotated[
        datetime | None,
        Meta(
            description="Every rating from this moment on, in UTC, is left out. Empty: none is.",
            extra_json_schema=MOMENT,
        ),
    ] = None
    salt: str = "movielens-mf"


class TrainConfig(Record, frozen=True, kw_only=True):
    """How one network is trained: all that a bundle depends on besides the data.

    Users choose what has a description. `params` are the network's own, described in its file.
    """

    network: str
    params: dict[str, Scalar]
    epochs: Annotated[
        int,
        Meta(ge=1, le=10_000, description="How often training goes through its ratings, at most."),
    ]
    batch_size: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="How many ratings each step of the optimizer takes."),
    ]
    optimizer: Annotated[
        Optimizer, Meta(description="The optimizer: adam, or sgd with momentum.")
    ] = "adam"
    learning_rate: Annotated[
        float, Meta(gt=0, le=10, description="The learning rate of the first epoch.")
    ]
    momentum: Annotated[Fraction, Meta(description="The momentum of optimizer sgd.")] = 0.0
    schedule: Annotated[
        Literal["constant", "cosine", "factor"],
        Meta(description="How the learning rate changes from epoch to epoch."),
    ] = "constant"
    weight_decay: Annotated[
        float, Meta(ge=0, le=100, description="The optimizer's own decay, of every weight.")
    ] = 0.0
    l2: Annotated[
        float, Meta(ge=0, le=100, description="The weight of squared embeddings in the loss.")
    ] = 0.0
    standardize: Annotated[
        bool,
        Meta(
            description="Ratings are counted from their mean, in units of their spread, so that those "
            "of any scale train alike."
        ),
    ] = True
    lazy: Annotated[
        bool, Meta(description="Only embeddings that a batch looks up are updated.")
    ] = True
    patience: Annotated[
        int,
        Meta(ge=0, le=10_000),
        Meta(
            description="Training ends after this many epochs without a better validation RMSE; "
            "after 0, never early."
        ),
    ] = 0
    keep: Annotated[
        Literal["best", "last"],
        Meta(
            description="The epoch whose weights are exported; best by validation, which then also "
            "weighs the network against the biases."
        ),
    ] = "best"
    seed: Annotated[
        int,
        Meta(ge=0, le=2**31 - 1, description="Two runs with the same seed give identical bundles."),
    ] = 0


class DagRun(Record, frozen=True, kw_only=True):
    """A run of a DAG, by Airflow's names."""

    dag_id: str
    run_id: str


class RunPlan(Record, frozen=True, kw_only=True):
    """Every parameter of a run, resolved and validated; later steps take only the run id.

    `given` is what a user or a DAG asked for, and `dag_run` what the run was planned for. `broken`
    has the error of each network that cannot be trained. Each training leases `devices` of the kind
    `device`; `auto` is a GPU if the worker has one.
    """

    run_id: str
    dataset: str
    reading: ReadConfig = ReadConfig()
    split: SplitConfig
    trainings: tuple[TrainConfig, ...]
    device: DeviceKind = "auto"
    devices: AtLeastOne = 1
    created_at: datetime
    code_version: str
    broken: dict[str, str] = {}
    given: dict[str, Any] = {}
    dag_run: DagRun | None = None
