"""What a network has to beat: predictions that need no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Floats, Part, Positions

    Doubles = NDArray[np.float64]

SWEEPS = 10
USER_DAMPING = 15.0
ITEM_DAMPING = 10.0


def predict_mean(train: Part, test: Part) -> Floats:
    """Predict the mean rating of the train part, whatever the user and the item."""
    return np.full(len(test.ratings), train.ratings.mean(dtype=np.float64), np.float32)


def predict_biases(train: Part, test: Part) -> Floats:
    """Predict `μ + b_u + b_i`; an unseen user or item has no bias, b = 0.

    The biases are fitted by alternating least squares, each damped by a number of ratings without
    bias. Koren: Factor in the Neighbors: Scalable and Accurate Collaborative Filtering (2010),
    section 2.1; the damping is that of Surprise's `BaselineOnly`.
    """
    average = train.ratings.mean(dtype=np.float64)
    rest = train.ratings - average
    user_biases = np.zeros(int(train.users.max()) + 1)
    item_biases = np.zeros(int(train.items.max()) + 1)
    for _ in range(SWEEPS):
        item_biases = _fit_damped(
            train.items, rest - user_biases[train.users], item_biases, ITEM_DAMPING
        )
        user_biases = _fit_damped(
            train.users, rest - item_biases[train.items], user_biases, USER_DAMPING
        )
    users, items = _look_up(user_biases, test.users), _look_up(item_biases, test.items)
    predicted: Floats = (average + users + items).astype(np.float32)
    return predicted


def _fit_damped(positions: Positions, rest: Doubles, biases: Doubles, damping: float) -> Doubles:
    """Return the mean rest of each user or item, over `damping` more ratings that have none."""
    sums = np.bincount(positions, weights=rest, minlength=len(biases)).astype(np.float64)
    counts = np.bincount(positions, minlength=len(biases))
    fitted: Doubles = sums / (counts + damping)
    return fitted


def _look_up(biases: Doubles, positions: Positions) -> Doubles:
    return np.where(positions >= 0, biases[positions.clip(0)], 0.0)
