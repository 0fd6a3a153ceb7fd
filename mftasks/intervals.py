"""How far a figure of the test part could be from what other users would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mftasks.records import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

REPLICATES = 1000
BLOCK = 1 << 22
LONERS = 1024
BOUNDS = (2.5, 97.5)


def intervals(
    squared: Floats, absolute: Floats, users: NDArray[np.int32], *, seed: int
) -> tuple[Interval, Interval]:
    """Return RMSE and MAE with their 95 % bootstrap intervals, from the errors of each rating.

    Users are resampled, not ratings: the errors of one user go together, so resampling ratings
    would give intervals that are too narrow, and what we want to know is how the network does for
    users at large. Each replicate weighs every user by a Poisson(1) number, which is the bootstrap
    for large samples (Chamandy et al.: Estimating Uncertainty for Massive Data Streams, 2012), and
    needs but three sums a user. Users whom training has not seen (position -1) are not told apart;
    their ratings are resampled in `LONERS` arbitrary groups, as if each came from another user.
    """
    sums = _sums_by_user(squared, absolute, users)
    replicates = _replicates(sums, np.random.default_rng(seed))
    n, total_squared, total_absolute = sums.sum(axis=0)
    return (
        _interval(np.sqrt(total_squared / n), np.sqrt(replicates[:, 1] / replicates[:, 0])),
        _interval(total_absolute / n, replicates[:, 2] / replicates[:, 0]),
    )


def _sums_by_user(squared: Floats, absolute: Floats, users: NDArray[np.int32]) -> Floats:
    """Return, a row for each user of the test part, number of ratings and sums of errors."""
    loners = users < 0
    groups = users + LONERS
    groups[loners] = np.arange(loners.sum()) % LONERS
    columns = [np.bincount(groups, weights=weights) for weights in (None, squared, absolute)]
    present = columns[0] > 0
    return np.stack([column[present].astype(np.float64) for column in columns], axis=1)


def _replicates(sums: Floats, random: np.random.Generator) -> Floats:
    """Return the sums of each replicate; one that drew nobody repeats the sample itself."""
    rows = max(1, BLOCK // len(sums))
    blocks = [
        random.poisson(1.0, (min(rows, REPLICATES - start), len(sums))) @ sums
        for start in range(0, REPLICATES, rows)
    ]
    replicates: Floats = np.concatenate(blocks)
    replicates[replicates[:, 0] == 0] = sums.sum(axis=0)
    return replicates


def _interval(value: float, replicates: Floats) -> Interval:
    low, high = np.percentile(replicates, BOUNDS)
    return Interval(value=float(value), low=float(low), high=float(high))
