"""What a training is after an epoch: all that it needs to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mftasks.records import EpochMetrics


class State(NamedTuple):
    """Hold a training after an epoch, on the host.

    `weights` has one array for each parameter of the network, in its order, and `moments` those of
    the optimizer, one after another. `best_weights` is None unless the best epoch's are kept.
    """

    history: tuple[EpochMetrics, ...]
    n_updates: int
    weights: list[NDArray[np.float32]]
    moments: list[NDArray[np.float32]]
    best_weights: list[NDArray[np.float32]] | None

    @property
    def epoch(self) -> int:
        """Return the number of epochs that are done."""
        return len(self.history)
