"""One network on several devices: each has weights and moments, and trains on its share of every batch.

The gradients are added up on the first device, and the sum is given to all: the same update everywhere
keeps the weights equal, and only gradients travel, which are row-sparse if the embeddings are lazy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mftasks.mx import nd
from mftasks.training.optimizer import Optimizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mftasks.records import TrainConfig
    from mftasks.training.state import State


class Replicas:
    """The copies of an initialized network on all of its devices, which are updated after each batch."""

    def __init__(
        self,
        parameters: list[Any],
        config: TrainConfig,
        start: State | None,
        contexts: Sequence[Any],
    ) -> None:
        self._home = contexts[0]
        self._optimizers = [Optimizer(parameters, config, start, context) for context in contexts]
        # By parameter, and then by device.
        self._gradients = [[each.grad(context) for context in contexts] for each in parameters]

    @property
    def n_updates(self) -> int:
        """Return how many updates there were, one for each batch."""
        return self._optimizers[0].n_updates

    def apply(self, n_ratings: int, learning_rate: float) -> None:
        """Update by the gradients of a loss that is summed over `n_ratings` on all devices."""
        if len(self._optimizers) > 1:
            for gradients in self._gradients:
                self._add_up(gradients)
        for optimizer in self._optimizers:
            optimizer.apply(n_ratings, learning_rate)

    def lift(self) -> None:
        """Lift weights that decay has brought close to zero."""
        for optimizer in self._optimizers:
            optimizer.lift()

    def moments(self) -> list[NDArray[np.float32]]:
        """Return copies of all moments of one device: those of the others are equal."""
        return self._optimizers[0].moments()

    def _add_up(self, gradients: list[nd.NDArray]) -> None:
        total = nd.add_n(*(gradient.as_in_context(self._home) for gradient in gradients))
        for gradient in gradients:
            total.copyto(gradient)
