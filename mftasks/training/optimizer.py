"""The optimizer of a training: MXNet's update operators, and moments that can be saved and put back.

Gluon's `Trainer` would save them as a pickle, and spends more time in Python than a small network
spends on its gradients. Adam is that of Kingma and Ba (2015); if gradients are row-sparse, rows
that a batch does not touch keep weights and moments ("lazy").
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from mftasks.mx import nd

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mftasks.records import TrainConfig
    from mftasks.training.state import State

BETA1, BETA2 = 0.9, 0.999  # MXNet's defaults
FLOOR = 1e-20


class Optimizer:
    """The optimizer of an initialized network on one device.

    The context may be None if the network is on one device only. Weight decay applies to parameters
    whose names end in `weight`, as in MXNet's own training.
    """

    def __init__(
        self,
        parameters: list[Any],
        config: TrainConfig,
        start: State | None,
        context: Any = None,
    ) -> None:
        self.n_updates = start.n_updates if start else 0
        self._adam = config.optimizer == "adam"
        self._slots = [_Slot(parameter, config, context) for parameter in parameters]
        # One call updates all parameters that need no call of their own.
        self._fused = [slot for slot in self._slots if self._adam and slot.is_plain]
        self._single = [slot for slot in self._slots if slot not in self._fused]
        self._scales: dict[int, nd.NDArray] = {}
        if start:
            for mine, saved in zip(self._moments(), start.moments, strict=True):
                mine[:] = saved

    def apply(self, n_ratings: int, learning_rate: float) -> None:
        """Update by the gradients of a loss that is summed over `n_ratings`."""
        self.n_updates += 1
        if self._adam:
            learning_rate *= math.sqrt(1 - BETA2**self.n_updates) / (1 - BETA1**self.n_updates)
        if self._fused:
            self._update_fused(n_ratings, learning_rate)
        for slot in self._single:
            slot.update(lr=learning_rate * slot.rate, rescale_grad=1.0 / n_ratings)

    def lift(self) -> None:
        """Set weights that decay has brought below `FLOOR` to `FLOOR`.

        If both factors of a product are flushed to 0, their gradients stay 0 for ever; from `FLOOR`
        they grow again once the data ask for it.
        """
        for slot in self._slots:
            if slot.decays:
                tiny = nd.abs(slot.weight) < FLOOR
                slot.weight[:] = nd.where(tiny, nd.ones_like(slot.weight) * FLOOR, slot.weight)

    def moments(self) -> list[NDArray[np.float32]]:
        """Return copies of all moments, in a fixed order."""
        return [moment.asnumpy() for moment in self._moments()]

    def _moments(self) -> list[nd.NDArray]:
        return [moment for slot in self._slots for moment in slot.moments]

    def _update_fused(self, n_ratings: int, learning_rate: float) -> None:
        weights = [slot.weight for slot in self._fused]
        if n_ratings not in self._scales:
            self._scales[n_ratings] = nd.full(1, 1.0 / n_ratings, ctx=weights[0].context)
        n = len(weights)
        nd.contrib.multi_adamw_update(
            weights,
            [slot.gradient for slot in self._fused],
            [slot.moments[0] for slot in self._fused],
            [slot.moments[1] for slot in self._fused],
            self._scales[n_ratings],
            out=weights,
            lrs=[learning_rate * slot.rate for slot in self._fused],
            etas=[1.0] * n,
            wds=[0.0] * n,
        )


class _Slot:
    """One parameter with its gradient and moments, and how it is updated."""

    def __init__(self, parameter: Any, config: TrainConfig, context: Any) -> None:
        self.weight = parameter.data(context)
        self.gradient = parameter.grad(context)
        self.rate = parameter.lr_mult
        n_moments = 2 if config.optimizer == "adam" else int(config.momentum > 0)
        self.moments = [nd.zeros_like(self.weight) for _ in range(n_moments)]
        decay = config.weight_decay if parameter.name.endswith("weight") else 0.0
        self.decays = decay > 0
        self.is_plain = decay == 0 and self.gradient.stype == "default"
        operator = (nd.sgd_update, nd.sgd_mom_update, nd.adam_update)[n_moments]
        # Each option is turned into text at each call, so those that are MXNet's defaults are left out.
        options: dict[str, Any] = {} if config.lazy else {"lazy_update": False}
        if decay:
            options["wd"] = decay
        if n_moments == 1:
            options["momentum"] = config.momentum
        given = (self.weight, self.gradient, *self.moments)
        self.update = functools.partial(operator, *given, out=self.weight, **options)
