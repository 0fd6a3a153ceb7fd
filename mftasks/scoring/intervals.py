"""How far a figure of the test part could be from what other users would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mftasks.records import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

REPLICATES = 1000
BLOCK = 1 << 22
FEWEST_USERS = 30
BOUNDS = (2.5, 97.5)


def resample(users: NDArray[np.int32], *columns: Doubles, seed: int) -> Doubles:
    """Return the number of ratings and the sum of each column: of the sample, then of replicates.

    Users are resampled, not ratings: the errors of one user go together, so resampling ratings
    would give intervals that are too narrow, and what we want to know is how a network does for
    users at large. Each replicate weighs every user by a Poisson(1) number, which is the bootstrap
    for large samples (Chamandy et al., "Estimating uncertainty for massive data streams", 2012),
    and needs only the sums of each user. Users whom training has not seen are negative numbers, one
    for each.

    Any figure made of the columns of one call is resampled with the same users, so the interval
    of a difference is that of the difference, not of two independent figures.
    """
    sums = _sum_by_user(users, columns)
    random = np.random.default_rng(seed)
    rows = max(1, BLOCK // len(sums))
    replicates = [
        random.poisson(1.0, (min(rows, REPLICATES - start), len(sums))) @ sums
        for start in range(0, REPLICATES, rows)
    ]
    sample = sums.sum(axis=0)
    drawn: Doubles = np.concatenate([sample[np.newaxis], *replicates])
    drawn[drawn[:, 0] == 0] = sample
    return drawn


def find_interval(figures: Doubles, n_users: int = FEWEST_USERS) -> Interval | None:
    """Return the figure of the sample, which comes first, with its 95 % interval.

    None if fewer than `FEWEST_USERS` were resampled: the bootstrap of a handful knows nothing.
    """
    if n_users < FEWEST_USERS:
        return None
    low, high = np.percentile(figures[1:], BOUNDS)
    return Interval(value=float(figures[0]), low=float(low), high=float(high))


def _sum_by_user(users: NDArray[np.int32], columns: tuple[Doubles, ...]) -> Doubles:
    groups = users - users.min(initial=0)
    counts = np.bincount(groups)
    sums = [counts, *(np.bincount(groups, weights=column) for column in columns)]
    return np.stack([some[counts > 0].astype(np.float64) for some in sums], axis=1)
