"""What a network has to beat: predictions that need no network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mftasks.factors.biases import Biases
from mftasks.scoring.errors import pool_rmse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Part, Positions

    Doubles = NDArray[np.float64]
    Damping = tuple[float, float]

SWEEPS, MORE_SWEEPS = 10, 3
DAMPING = (8.0, 8.0)
STRONGEST, WEAKEST = 512.0, 0.125


def fit_biases(train: Part, valid: Part | None, n_users: int, n_items: int) -> Biases:
    """Fit `μ + b_u + b_i` by alternating least squares, each bias damped by ratings without bias.

    The dampings of users and of items are those of the least RMSE on the validation part, found by
    doubling and halving them in turn; without one they are `DAMPING`. Koren: Factor in the Neighbors:
    Scalable and Accurate Collaborative Filtering (2010), section 2.1.
    """
    fitting = _Fitting(train, n_users, n_items)
    best = fitting.fit(DAMPING)
    if valid is None:
        return best
    damping, least = DAMPING, _score(best, valid)
    tried = {damping}
    while near := [one for one in _list_near(damping) if one not in tried]:
        for one in near:
            tried.add(one)
            found = fitting.fit(one, best, MORE_SWEEPS)
            if (rmse := _score(found, valid)) < least:
                best, damping, least = found, one, rmse
                break
    return fitting.fit(damping, best)


def _score(biases: Biases, valid: Part) -> float:
    return pool_rmse(biases.predict(valid.users, valid.items), valid.ratings)


def _list_near(damping: Damping) -> Iterator[Damping]:
    """Yield dampings of which one is half or double."""
    for side, factor in itertools.product((0, 1), (0.5, 2.0)):
        changed = damping[side] * factor
        if WEAKEST <= changed <= STRONGEST:
            yield (changed, damping[1]) if side == 0 else (damping[0], changed)


class _Fitting:
    """The ratings of the train part less their mean, and how many each user and item has."""

    def __init__(self, train: Part, n_users: int, n_items: int) -> None:
        self.users, self.items = train.users, train.items
        self.mean = float(train.ratings.mean(dtype=np.float64))
        self.rest = train.ratings - self.mean
        self.n_users = np.bincount(train.users, minlength=n_users)
        self.n_items = np.bincount(train.items, minlength=n_items)

    def fit(self, damping: Damping, start: Biases | None = None, sweeps: int = SWEEPS) -> Biases:
        users = start.users if start else np.zeros(len(self.n_users))
        items = start.items if start else np.zeros(len(self.n_items))
        for _ in range(sweeps):
            items = _damp(self.items, self.rest - users[self.users], self.n_items, damping[1])
            users = _damp(self.users, self.rest - items[self.items], self.n_users, damping[0])
        return Biases(self.mean, users, items)


def _damp(positions: Positions, rest: Doubles, counts: NDArray[np.intp], damping: float) -> Doubles:
    """Return the mean rest of each user or item, over `damping` more ratings that have none."""
    sums = np.bincount(positions, weights=rest, minlength=len(counts))
    damped: Doubles = sums / (counts + damping)
    return damped
