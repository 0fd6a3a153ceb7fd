"""Where a network errs: its error by what the rating was, and by how much is known of the user."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from mftasks.records import KNOWN, Group, Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_VALUES = 12
QUARTILES = (0.25, 0.5, 0.75)
RESIDUAL_BINS = 32


def score_by_rating(ratings: NDArray[np.float32], squared: Floats) -> tuple[Group, ...]:
    """Return the RMSE for each value of the scale, or for ranges if the scale is continuous."""
    values = np.unique(ratings)
    if len(values) <= MOST_VALUES:
        group_of = np.searchsorted(values, ratings)
        return _score_groups([f"{value:g}" for value in values], group_of, squared)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, MOST_VALUES + 1)))
    group_of = np.searchsorted(edges[1:-1], ratings, side="right")
    labels = [f"{low:.3g} – {high:.3g}" for low, high in itertools.pairwise(edges)]
    return _score_groups(labels, group_of, squared)


def score_by_activity(
    users: NDArray[np.int32], user_counts: NDArray[np.int32], squared: Floats
) -> tuple[Group, ...]:
    """Return the RMSE by how many ratings of the user training has seen.

    The bounds are the quartiles of all users; ratings of unseen users come first.
    """
    bounds = np.unique(np.quantile(user_counts, QUARTILES, method="lower")).astype(int)
    group_of = np.searchsorted(bounds, user_counts[users.clip(0)], side="left") + 1
    group_of[users < 0] = 0
    lows = [int(user_counts.min()), *(bounds + 1)]
    highs = [*bounds, int(user_counts.max())]
    labels = [_name_range(low, high) for low, high in zip(lows, highs, strict=True)]
    return _score_groups(["unseen", *labels], group_of, squared)


def score_by_novelty(
    users: NDArray[np.int32], items: NDArray[np.int32], squared: Floats
) -> tuple[Group, ...]:
    """Return the RMSE of pairs that the network knows, and of those with a new user, item or both."""
    group_of = (users < 0) + 2 * (items < 0)
    return _score_groups([KNOWN, "new user", "new item", "both new"], group_of, squared)


def count_residuals(errors: Floats, spread: float) -> Histogram:
    """Count rating − predicted in bins between -spread and spread, the width of the scale."""
    counts, edges = np.histogram(errors, RESIDUAL_BINS, (-spread, spread))
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def _score_groups(
    labels: list[str], group_of: NDArray[np.intp], squared: Floats
) -> tuple[Group, ...]:
    counts = np.bincount(group_of, minlength=len(labels))
    sums = np.bincount(group_of, weights=squared, minlength=len(labels))
    return tuple(
        Group(label=label, n_ratings=int(n), rmse=float(np.sqrt(total / n)))
        for label, n, total in zip(labels, counts, sums, strict=True)
        if n
    )


def _name_range(low: int, high: int) -> str:
    return f"{low}" if low >= high else f"{low} – {high}"
