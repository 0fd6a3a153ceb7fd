"""Written by `train`: how a network was trained, and where its bundle is."""

from __future__ import annotations

from typing import Literal

from mftasks.records.plan import TrainConfig
from mftasks.records.record import AtLeastOne, BlobRef, Count, Record


class GpuUse(Record, frozen=True, kw_only=True):
    """How busy a GPU is, whoever uses it; `utilization` is 0…1, of the last moments."""

    device: str
    memory_used_bytes: Count
    memory_total_bytes: Count
    utilization: float


class EpochMetrics(Record, frozen=True, kw_only=True):
    """The figures of an epoch; `seconds` counts from the start of training, resumed time included.

    `train_rmse` is pooled over the epoch's batches as they were trained on, raw; `valid_rmse` is
    pooled over the validation part after the epoch, clipped, and None without such a part. `share` is
    that of the network in what is predicted then, and the fitted biases have the rest.
    """

    epoch: AtLeastOne
    train_rmse: float
    valid_rmse: float | None
    share: float = 1.0
    learning_rate: float
    seconds: float
    ratings_per_second: float


class BundleRef(Record, frozen=True, kw_only=True):
    """An exported network in the store; `files` maps a file's name to its blob."""

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

    @property
    def kept(self) -> EpochMetrics:
        """Return the epoch whose weights are exported."""
        return self.history[self.best_epoch - 1]
