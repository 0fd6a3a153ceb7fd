"""A model as plain arrays: `r̂ = μ + b_u + b_i + ⟨p_u, q_i⟩`, in NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from mftasks.data.arrays import Floats, Positions
    from mftasks.factors.biases import Biases
    from mftasks.factors.units import Unit

CHUNK = 1 << 15  # ratings that are predicted at once: their vectors fit the processor's cache


class Factors(NamedTuple):
    """What any network comes to whose sides meet in an inner product, in the order of the vocabulary.

    `mu` is the mean, the biases have the shapes (n_users,) and (n_items,), the vectors (n_users, k) and (n_items, k);
    all are float32.
    """

    mu: np.float32
    user_bias: Floats
    item_bias: Floats
    user_vectors: Floats
    item_vectors: Floats

    def predict(self, users: Positions, items: Positions) -> Floats:
        """Return the predicted rating of each pair of positions, unclipped."""
        predicted: Floats = self.mu + self.user_bias[users] + self.item_bias[items]
        for start in range(0, len(users), CHUNK):
            rows = slice(start, start + CHUNK)
            sides = self.user_vectors[users[rows]], self.item_vectors[items[rows]]
            predicted[rows] += np.einsum("nk,nk->n", *sides)
        return predicted

    def predict_row(self, bias: float, vector: Floats) -> Floats:
        """Return the predicted ratings that a user of this bias and vector gives to all items."""
        predicted: Floats = self.item_vectors @ vector
        predicted += self.item_bias
        predicted += np.float32(self.mu + bias)
        return predicted


def convert(factors: Factors, unit: Unit, share: float, biases: Biases) -> Factors:
    """Return the factors of ratings from those of what a network counts in `unit`.

    The network has the given `share` of what is predicted, and the biases the rest.
    """
    scale, rest = share * unit.spread, 1 - share
    stretch = np.sqrt(abs(scale))
    return Factors(
        mu=np.float32(share * unit.mean + scale * factors.mu + rest * biases.mean),
        user_bias=(scale * factors.user_bias + rest * biases.users).astype(np.float32),
        item_bias=(scale * factors.item_bias + rest * biases.items).astype(np.float32),
        user_vectors=(stretch * factors.user_vectors).astype(np.float32),
        item_vectors=(np.copysign(stretch, scale) * factors.item_vectors).astype(np.float32),
    )
