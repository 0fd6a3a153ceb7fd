"""Describe a table of ratings at a glance."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from mftasks.data import checks
from mftasks.records import Histogram, Profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.table import RatingsTable
    from mftasks.records import Check, DatasetRef, Layout

_MANY_VALUES = 50
_BINS = 20


def describe(
    dataset: DatasetRef,
    layout: Layout,
    table: RatingsTable,
    found: tuple[Check, ...],
    dropped: dict[str, int],
) -> Profile:
    """Return the profile of a table that has ratings, with the rules that were checked."""
    per_user, per_item = (np.bincount(ids.codes) for ids in (table.users, table.items))
    n_users, n_items = np.count_nonzero(per_user), np.count_nonzero(per_item)
    moments = table.timestamps if table.timestamps is not None else np.empty(0, np.int64)
    moments = moments[checks.plausible(moments)]  # the others were reported as a warning
    first, last = (
        (datetime.fromtimestamp(int(one), UTC) for one in (moments.min(), moments.max()))
        if len(moments)
        else (None, None)
    )
    return Profile(
        dataset=dataset,
        layout=layout,
        n_ratings=table.n_ratings,
        n_users=n_users,
        n_items=n_items,
        density=table.n_ratings / (n_users * n_items),
        mean_rating=float(table.ratings.mean(dtype="float64")),
        rating_counts=_count_by_value(table.ratings),
        first_rated=first,
        last_rated=last,
        ratings_per_user=_count_by_activity(per_user),
        ratings_per_item=_count_by_activity(per_item),
        ratings_per_month=_count_by_month(moments),
        checks=found,
        dropped=dropped,
    )


def _count_by_value(ratings: NDArray[np.float32]) -> dict[str, int]:
    """Count ratings by value, or by bin if there are too many values for a picture."""
    values, counts = np.unique(ratings, return_counts=True)
    if len(values) <= _MANY_VALUES:
        labels = [f"{value:g}" for value in values]
    else:
        counts, edges = np.histogram(ratings, bins=_BINS)
        labels = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)]
    return dict(zip(labels, counts.tolist(), strict=True))


def _count_by_activity(each: NDArray[np.intp]) -> Histogram:
    """Count users (or items) by how many ratings they have, in bins that double: 1, 2–3, 4–7, …."""
    edges = 2.0 ** np.arange(int(each.max()).bit_length() + 1)
    counts, _ = np.histogram(each, edges)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def _count_by_month(moments: NDArray[np.int64]) -> dict[str, int]:
    """Count ratings by month, "1997-09", from the first to the last, empty ones included."""
    if not len(moments):
        return {}
    months = moments.astype("datetime64[s]").astype("datetime64[M]")
    first = months.min()
    counts = np.bincount((months - first).astype(np.int64))
    return {str(first + month): int(count) for month, count in enumerate(counts)}
