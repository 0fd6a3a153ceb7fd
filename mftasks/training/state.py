"""What a training starts from, what it is after an epoch, and what comes out of it."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mftasks.factors.units import AS_RATED, Unit
from mftasks.scoring.baselines import fit_biases

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mftasks.data.arrays import Part
    from mftasks.factors.biases import Biases
    from mftasks.networks import Sizes
    from mftasks.records import EpochMetrics


@dataclasses.dataclass(frozen=True)
class Data:
    """What a network is trained on; ratings lie within `low` and `high`."""

    train: Part
    valid: Part | None
    sizes: Sizes
    low: float
    high: float

    @functools.cached_property
    def biases(self) -> Biases:
        """Return the biases of users and items, fitted when they are first asked for."""
        return fit_biases(self.train, self.valid, self.sizes.n_users, self.sizes.n_items)


class State(NamedTuple):
    """A training after an epoch, on the host: all that it needs to go on.

    `weights` has one array for each parameter of the network, in its order, and `moments` those of
    the optimizer, one after another. `best_weights` is None unless the best epoch's are kept.
    `cpu_seconds` counts all processes of the training.
    """

    history: tuple[EpochMetrics, ...]
    n_updates: int
    weights: list[NDArray[np.float32]]
    moments: list[NDArray[np.float32]]
    best_weights: list[NDArray[np.float32]] | None
    cpu_seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """Return the number of epochs that are done."""
        return len(self.history)


class Trained(NamedTuple):
    """A network with the weights of `best_epoch`, on the CPU, and how it came to them.

    What it predicts is counted in `unit`.
    """

    block: Any
    history: tuple[EpochMetrics, ...]
    best_epoch: int
    stopped: Literal["completed", "early"]
    unit: Unit = AS_RATED
    cpu_seconds: float = 0.0

    @property
    def kept(self) -> EpochMetrics:
        """Return the epoch whose weights are exported."""
        return self.history[self.best_epoch - 1]
