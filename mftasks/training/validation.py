"""How far off a network is on the validation part while it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mftasks.mx import predict
from mftasks.scoring.errors import pool_rmse

if TYPE_CHECKING:
    from mftasks.factors.units import Unit
    from mftasks.training.state import Data


class Validated(NamedTuple):
    """The RMSE on the validation part, and the network's share in what was predicted."""

    rmse: float
    share: float


class Validation:
    """The validation part, if it can choose, and the biases that its unknown users and items get.

    A part without a pair that training knows cannot choose: whatever is learnt, its RMSE is the same.
    As in a bundle, predictions are clipped. With `weigh`, the network's share is the one between 0 and
    1 of the least squared error, and the biases have the rest.
    """

    def __init__(self, data: Data, unit: Unit, *, weigh: bool) -> None:
        self._data = data
        self._unit = unit
        self._weigh = weigh
        if data.valid is None:
            return
        valid = data.valid
        self._known = (valid.users >= 0) & (valid.items >= 0)
        self._biases = data.biases.predict(valid.users, valid.items)

    def score(self, network: Any, context: Any) -> Validated | None:
        """Return how far off a network on a device is, None if the part cannot choose."""
        valid = self._data.valid
        if valid is None or not self._known.any():
            return None
        users, items = valid.users[self._known], valid.items[self._known]
        found = self._unit.unscale(predict(network, users, items, context)).astype(np.float64)
        biases = self._biases[self._known].astype(np.float64)
        share = _weigh(found, biases, valid.ratings[self._known]) if self._weigh else 1.0
        predicted = self._biases.copy()
        predicted[self._known] = share * found + (1 - share) * biases
        clipped = predicted.clip(self._data.low, self._data.high)
        return Validated(pool_rmse(clipped, valid.ratings), share)


def _weigh(found: Any, biases: Any, ratings: Any) -> float:
    more = found - biases
    squares = float(more @ more)
    if not squares:
        return 1.0
    return float(np.clip(more @ (ratings - biases) / squares, 0.0, 1.0))
