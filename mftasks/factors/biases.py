"""What is expected of a rating without any network: `μ + b_u + b_i`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Floats, Positions

    Doubles = NDArray[np.float64]


class Biases(NamedTuple):
    """The mean rating, and what each user and item of the vocabulary adds to it.

    They are the one answer to pairs that a network does not know, wherever these are met.
    """

    mean: float
    users: Doubles
    items: Doubles

    def predict(self, users: Positions, items: Positions) -> Floats:
        """Predict the rating of each pair of positions; a negative one is unknown and has no bias."""
        of_users, of_items = _look_up(self.users, users), _look_up(self.items, items)
        predicted: Floats = (self.mean + of_users + of_items).astype(np.float32)
        return predicted


def _look_up(biases: Doubles, positions: Positions) -> Doubles:
    return np.where(positions >= 0, biases[positions.clip(0)], 0.0)
