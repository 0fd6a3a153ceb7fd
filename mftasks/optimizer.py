"""The optimizer of a training: MXNet's own update rules, with moments that can be saved and put back.

Gluon's `Trainer` saves its state as a pickle, and its store for gradients has no use on one device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mftasks.mx import mx, nd

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mftasks.checkpoint import State
    from mftasks.records import TrainConfig


class Optimizer:
    """Update the parameters of an initialized network after each batch.

    Weight decay applies to parameters whose names end in `weight`, as MXNet's own training does.
    """

    def __init__(self, parameters: list[Any], config: TrainConfig, start: State | None) -> None:
        self.n_updates = start.n_updates if start else 0
        self._rule = mx.optimizer.create(
            config.optimizer,
            wd=config.weight_decay,
            param_idx2name={i: parameter.name for i, parameter in enumerate(parameters)},
            begin_num_update=self.n_updates,
            **_options(config),
        )
        self._weights = [parameter.data() for parameter in parameters]
        self._gradients = [parameter.grad() for parameter in parameters]
        self._moments = [self._rule.create_state(i, w) for i, w in enumerate(self._weights)]
        if start:
            for mine, saved in zip(self._flat(), start.moments, strict=True):
                mine[:] = saved

    def apply(self, n_ratings: int, learning_rate: float) -> None:
        """Update by the gradients of a loss that is summed over `n_ratings`."""
        self.n_updates += 1
        self._rule.rescale_grad = 1.0 / n_ratings
        self._rule.set_learning_rate(learning_rate)
        for i, weight in enumerate(self._weights):
            self._rule.update(i, weight, self._gradients[i], self._moments[i])

    def moments(self) -> list[NDArray[np.float32]]:
        """Return copies of all moments, in a fixed order."""
        return [moment.asnumpy() for moment in self._flat()]

    def _flat(self) -> list[nd.NDArray]:
        return [
            moment
            for state in self._moments
            for moment in (state if isinstance(state, tuple) else (state,))
            if moment is not None
        ]


def _options(config: TrainConfig) -> dict[str, Any]:
    lazy = {"lazy_update": config.lazy}
    return lazy if config.optimizer == "adam" else {"momentum": config.momentum, **lazy}
