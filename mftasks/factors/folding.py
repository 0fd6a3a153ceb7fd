"""A user whom training has not seen, from a few ratings of his: ridge regression on the item side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Floats, Positions
    from mftasks.factors import Factors

    Doubles = NDArray[np.float64]

MOST_USERS = 1 << 17  # of whom the prior is measured
SHRINKAGE = 0.1


class FoldedIn(NamedTuple):
    """A user as factors: a bias, and a vector of shape (k,), float32."""

    bias: float
    vector: Floats


class Prior(NamedTuple):
    """How bias and vector of users are spread: `mean` of shape (1 + k,), the bias first; and `precision`.

    `precision` is the inverse of their covariance, times the variance of a rating's noise: so it counts in
    ratings, as a ridge does.
    """

    mean: Doubles
    precision: Doubles


def measure_prior(factors: Factors, noise: float) -> Prior:
    """Return how users are spread, of whom each rating is off by the variance `noise`.

    The covariance is shrunk towards its diagonal, so that few users, or vectors of dependent columns, give
    one that can be inverted.
    """
    step = max(1, len(factors.user_bias) // MOST_USERS)
    vectors = factors.user_vectors[::step].astype(np.float64)
    users = np.column_stack([factors.user_bias[::step], vectors])
    mean = users.mean(axis=0)
    rest = users - mean
    covariance = rest.T @ rest / len(users)
    own = np.diag(covariance)
    covariance += SHRINKAGE * (np.diag(own) - covariance)
    covariance[np.diag_indices_from(covariance)] += 1e-6 * own.max(initial=0.0) + 1e-12
    return Prior(mean, noise * np.linalg.inv(covariance))


def fold_in(factors: Factors, prior: Prior, items: Positions, ratings: Floats) -> FoldedIn:
    """Return the most likely user who gave these ratings to items at these positions."""
    rest = ratings.astype(np.float64) - factors.mu - factors.item_bias[items]
    sides = np.column_stack([np.ones(len(items)), factors.item_vectors[items]]).astype(np.float64)
    left = sides.T @ sides + prior.precision
    right = sides.T @ rest + prior.precision @ prior.mean
    found = np.linalg.solve(left, right)
    return FoldedIn(float(found[0]), found[1:].astype(np.float32))
