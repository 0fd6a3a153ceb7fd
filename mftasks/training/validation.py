"""How far off a network is on the validation part while it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mftasks.data.arrays import expected_ratings, mean_ratings
from mftasks.mx import predict
from mftasks.scoring.errors import pool_rmse

if TYPE_CHECKING:
    from mftasks.training.state import Data


class Validation:
    """The validation part, if it can choose, and what is expected of its unknown users and items.

    A part without a pair that training knows cannot choose: whatever is learnt, its RMSE is the same.
    As in a bundle, these get mean ratings of the training part, and predictions are clipped.
    """

    def __init__(self, data: Data) -> None:
        self._data = data
        if data.valid is None:
            return
        train, valid, sizes = data.train, data.valid, data.sizes
        user_means, _ = mean_ratings(train.users, train.ratings, sizes.n_users, sizes.mean_rating)
        item_means, _ = mean_ratings(train.items, train.ratings, sizes.n_items, sizes.mean_rating)
        self._known = (valid.users >= 0) & (valid.items >= 0)
        self._predicted = expected_ratings(
            valid.users, valid.items, user_means, item_means, sizes.mean_rating
        )

    def rmse(self, network: Any, context: Any) -> float | None:
        """Return the RMSE of a network on a device, None if the part cannot choose."""
        valid = self._data.valid
        if valid is None or not self._known.any():
            return None
        users, items = valid.users[self._known], valid.items[self._known]
        self._predicted[self._known] = predict(network, users, items, context)
        clipped = self._predicted.clip(self._data.low, self._data.high)
        return pool_rmse(clipped, valid.ratings)
