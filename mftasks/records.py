"""The records that steps hand to each other: frozen, typed, validated on reading, stored as JSON.

A record is what a step reads and writes; it never holds data, only references (`…Ref`) to bytes in
the store together with their sha256. A record outlives the code that wrote it: unknown fields are
ignored on reading, and a field that is added has a default.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Fraction = Annotated[float, Meta(ge=0.0, lt=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Count = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Width = Annotated[int, Meta(ge=1, le=4096)]

Strategy = Literal["canonical", "hash", "temporal"]
Optimizer = Literal["adam", "sgd"]
Schedule = Literal["constant", "cosine", "factor"]
Severity = Literal["error", "warning"]
DeviceKind = Literal["auto", "cpu", "gpu"]
Scalar = bool | int | float | str

MOMENT = {"format": "date-time", "examples": ["1998-04-01", "1998-04-01T12:00:00Z"]}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen, validated value that is stored as one JSON object."""


class BlobRef(Record, frozen=True, kw_only=True):
    """Point at bytes in the store."""

    key: str
    sha256: str
    n_bytes: Count


class SplitConfig(Record, frozen=True, kw_only=True):
    """How ratings are divided into train, valid and test; what has a title, a person may choose.

    `valid_fraction` is a share of all ratings under `hash`, and otherwise of those before the test;
    under `temporal` it is cut from the end of these, and None makes it as large a share of them as
    the test part is of all. Moments are in UTC.
    """

    strategy: Strategy
    fold: Annotated[
        Annotated[int, Meta(ge=1, le=5)] | None,
        Meta(
            title="Fold", description="The fold of ml-100k that split canonical tests on. Empty: 1."
        ),
    ] = None
    test_fraction: Annotated[
        Annotated[float, Meta(ge=0.001, le=0.9)] | None,
        Meta(
            title="Test fraction",
            description="The share of ratings that split hash tests on. Empty: 0.2.",
        ),
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
            title="Test from",
            description="Split temporal tests on ratings from this moment on, in UTC.",
            extra_json_schema=MOMENT,
        ),
    ] = None
    as_of: Annotated[
        datetime | None,
        Meta(
            title="As of",
            description="Every rating from this moment on, in UTC, is left out. Empty: none is.",
            extra_json_schema=MOMENT,
        ),
    ] = None
    salt: str = "movielens-mf"


class TrainConfig(Record, frozen=True, kw_only=True):
    """How one network is trained; everything that a bundle depends on beside the data.

    What has a title, a person may choose. `params` are the network's own, described in its file.
    """

    network: str
    params: dict[str, Scalar]
    epochs: Annotated[
        int,
        Meta(ge=1, le=10_000),
        Meta(title="Epochs", description="How often training goes through its ratings, at most."),
    ]
    batch_size: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        Meta(title="Batch size", description="How many ratings each step of the optimizer takes."),
    ]
    optimizer: Annotated[
        Optimizer, Meta(title="Optimizer", description="The optimizer: adam, or sgd with momentum.")
    ] = "adam"
    learning_rate: Annotated[
        float,
        Meta(gt=0, le=10),
        Meta(title="Learning rate", description="The learning rate of the first epoch."),
    ]
    momentum: Annotated[
        Fraction, Meta(title="Momentum", description="The momentum of optimizer sgd.")
    ] = 0.0
    schedule: Annotated[
        Schedule,
        Meta(title="Schedule", description="How the learning rate changes from epoch to epoch."),
    ] = "constant"
    weight_decay: Annotated[
        float,
        Meta(ge=0, le=100),
        Meta(title="Weight decay", description="The optimizer's own decay, of every weight."),
    ] = 0.0
    l2: Annotated[
        float,
        Meta(ge=0, le=100),
        Meta(title="L2", description="The weight of squared embeddings in the loss."),
    ] = 0.0
    lazy: Annotated[
        bool,
        Meta(title="Lazy", description="Only embeddings that a batch looks up are updated."),
    ] = True
    patience: Annotated[
        int,
        Meta(ge=0, le=10_000),
        Meta(
            title="Patience",
            description="Training ends after this many epochs without a better validation RMSE; "
            "after 0, never early.",
        ),
    ] = 0
    keep: Annotated[
        Literal["best", "last"],
        Meta(title="Keep", description="The epoch whose weights are exported; best by validation."),
    ] = "best"
    seed: Annotated[
        int,
        Meta(ge=0, le=2**31 - 1),
        Meta(title="Seed", description="Two runs with the same seed give identical bundles."),
    ] = 0


class DagRun(Record, frozen=True, kw_only=True):
    """The run of a DAG, as Airflow names both."""

    dag_id: str
    run_id: str


class RunPlan(Record, frozen=True, kw_only=True):
    """Every parameter of a run, resolved and validated; later steps take only the run id.

    `given` is what a person or a DAG asked for, and `dag_run` what the run was planned for. `broken`
    says why networks that would have been trained cannot be. Each training leases `devices` of the kind `device`; `auto` is a GPU where the worker has one.
    """

    run_id: str
    dataset: str
    split: SplitConfig
    trainings: tuple[TrainConfig, ...]
    device: DeviceKind = "auto"
    devices: AtLeastOne = 1
    created_at: datetime
    code_version: str
    broken: dict[str, str] = {}
    given: dict[str, Any] = {}
    dag_run: DagRun | None = None


class DatasetRef(Record, frozen=True, kw_only=True):
    """Point at verified data: `ratings` in the publisher's own format, `titles` of items as JSON.

    `sha256` is that of the ratings file and is the identity of the data, whichever `source` served
    it. `format` is a key of `formats.FORMATS`.
    """

    name: str
    source: str
    format: str
    sha256: str
    ratings: BlobRef
    titles: BlobRef | None = None


class Check(Record, frozen=True, kw_only=True):
    """Hold one rule about the data and whether it held."""

    name: str
    severity: Severity
    passed: bool
    detail: str


class Histogram(Record, frozen=True, kw_only=True):
    """Count values by bin; `edges` has one more entry than `counts`."""

    edges: tuple[float, ...]
    counts: tuple[Count, ...]


class Profile(Record, frozen=True, kw_only=True):
    """Describe a data set at a glance; moments are aware UTC, and None without timestamps."""

    dataset: DatasetRef
    n_ratings: Count
    n_users: Count
    n_items: Count
    density: float
    mean_rating: float
    rating_counts: dict[str, Count]
    first_rated: datetime | None
    last_rated: datetime | None
    ratings_per_user: Histogram
    ratings_per_item: Histogram
    ratings_per_month: dict[str, Count]
    checks: tuple[Check, ...]


class PartSize(Record, frozen=True, kw_only=True):
    """Count one part of a split; `n_unseen_…` are users and items that the train part lacks."""

    n_ratings: Count
    n_users: Count
    n_items: Count
    n_unseen_users: Count = 0
    n_unseen_items: Count = 0
    n_unseen_ratings: Count = 0


class SplitRef(Record, frozen=True, kw_only=True):
    """Point at the parts of a data set, as arrays.

    `parts` maps train, valid (absent when empty) and test to npz blobs with `users`, `items`
    (int32 positions in the vocabulary, a negative number of its own for each id that the train part
    lacks), `ratings` (float32). `sizes` counts them, and the ratings that are `left_out` by `as_of`.
    `valid_from` is when the validation part begins under `temporal`; `warnings` are what makes the
    parts a poor test.
    `vocabulary` is an npz blob with `user_ids` and `item_ids` of the train part, sorted.
    Two RMSEs compare only where `fingerprint` is equal.
    """

    config: SplitConfig
    dataset_sha256: str
    fingerprint: str
    parts: dict[str, BlobRef]
    vocabulary: BlobRef
    sizes: dict[str, PartSize]
    mean_rating: float
    min_rating: float
    max_rating: float
    valid_from: datetime | None = None
    warnings: tuple[str, ...] = ()


class GpuUse(Record, frozen=True, kw_only=True):
    """Say how busy a GPU is, whoever uses it; `utilization` is 0…1, of the last moments."""

    device: str
    memory_used_bytes: Count
    memory_total_bytes: Count
    utilization: float


class EpochMetrics(Record, frozen=True, kw_only=True):
    """Describe one epoch; `seconds` counts from the start of training, resumed time included.

    `train_rmse` is pooled over the epoch's batches as they were trained on, raw; `valid_rmse` is
    pooled over the validation part after the epoch, clipped, and None without such a part.
    """

    epoch: AtLeastOne
    train_rmse: float
    valid_rmse: float | None
    learning_rate: float
    seconds: float
    ratings_per_second: float


class BundleRef(Record, frozen=True, kw_only=True):
    """Point at an exported network; `files` maps a file's name to its blob."""

    network: str
    prefix: str
    files: dict[str, BlobRef]


class Layer(Record, frozen=True, kw_only=True):
    """A part of a network: a block of Gluon's with its first figure, and the parts inside it.

    `n_parameters` counts the weights of the part, those of the parts inside it included.
    """

    name: str
    kind: str
    detail: str = ""
    n_parameters: Count = 0
    layers: tuple[Layer, ...] = ()


class TrainResult(Record, frozen=True, kw_only=True):
    """What a training did and where its bundle is.

    `seconds` are those of its epochs, `cpu_seconds` those of its processes, both with earlier attempts
    that it resumed from; `peak_rss_bytes` is of its last process.

    `formula` is the first sentence of the network's file, `architecture` what it consists of.
    """

    config: TrainConfig
    split_fingerprint: str
    history: tuple[EpochMetrics, ...]
    best_epoch: AtLeastOne
    stopped: Literal["completed", "early"]
    resumed_from: Count | None
    device: str
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: Count
    bundle: BundleRef
    formula: str = ""
    architecture: Layer | None = None


class Interval(Record, frozen=True, kw_only=True):
    """Hold a figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Group(Record, frozen=True, kw_only=True):
    """Hold the RMSE of one group of test ratings."""

    label: str
    n_ratings: Count
    rmse: float


class Evaluation(Record, frozen=True, kw_only=True):
    """How well an exported bundle predicts the test part.

    `rmse` and `mae` are of predictions clipped to the rating scale, `rmse_raw` of unclipped ones;
    `baselines` maps mean and biases to their RMSE, and `gain` is how far `rmse` is below the best
    of them, over the same resampled users. Intervals are None for too few users to say.
    `by_novelty` parts the ratings into those of known users and items, and of new ones, which
    `n_fallback` counts. `residuals` counts rating − predicted.
    """

    network: str
    split_fingerprint: str
    bundle: BundleRef
    n_ratings: Count
    n_fallback: Count
    rmse: float
    rmse_raw: float
    mae: float
    n_users: Count = 0
    rmse_interval: Interval | None = None
    mae_interval: Interval | None = None
    baselines: dict[str, float]
    gain: Interval | None = None
    by_rating: tuple[Group, ...]
    by_activity: tuple[Group, ...]
    by_novelty: tuple[Group, ...] = ()
    residuals: Histogram


class PublishedFile(Record, frozen=True, kw_only=True):
    """Describe one file of a published run; `role` says what it is for."""

    name: str
    key: str
    sha256: str
    n_bytes: Count
    content_type: str
    role: str


class Score(Record, frozen=True, kw_only=True):
    """The figures of one network of a run that tables show.

    `baseline` is the best one and `gain` how far `rmse` is below it; `seconds` is of the training.
    """

    network: str
    rmse: float
    rmse_interval: Interval | None = None
    mae: float
    valid_rmse: float | None = None
    baseline: str
    baseline_rmse: float
    gain: Interval | None = None
    best_epoch: AtLeastOne
    n_epochs: AtLeastOne
    seconds: float
    device: str


class Report(Record, frozen=True, kw_only=True):
    """Everything that a run found out, gathered from its records to draw the pages.

    `best` is chosen on the validation part, on the test part only if there is no other.
    """

    plan: RunPlan
    profile: Profile
    split: SplitRef
    results: tuple[TrainResult, ...]
    evaluations: tuple[Evaluation, ...]
    best: str


class ReportRef(Record, frozen=True, kw_only=True):
    """The pages of a run, and what they show in figures."""

    run_id: str
    best: str
    scores: tuple[Score, ...]
    pages: tuple[PublishedFile, ...]


class RunRow(Record, frozen=True, kw_only=True):
    """What lists of runs show of a published run."""

    run_id: str
    dag_run: DagRun | None = None
    published_at: datetime
    code_version: str
    dataset: DatasetRef
    split_fingerprint: str
    best: str
    scores: tuple[Score, ...]


class Manifest(Record, frozen=True, kw_only=True):
    """Everything that a run published; it is put last, and its presence means "published".

    A higher `schema_version` is one that older code must not read: a field means something else.
    """

    schema_version: int
    run_id: str
    dag_run: DagRun | None = None
    published_at: datetime
    code_version: str
    dataset: DatasetRef
    split_fingerprint: str
    best: str
    scores: tuple[Score, ...]
    files: tuple[PublishedFile, ...]
