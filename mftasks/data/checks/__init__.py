"""The rules that a ratings table must keep: of single values, and across rows.

Every rule ends as a `Check`. An error makes the data unfit for training; a warning is worth a look.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mftasks.data.catalog import Counts, Scale
from mftasks.data.checks.ids import check_ids, suspect_ids
from mftasks.data.checks.rule import DROP, NONE, Column, judge
from mftasks.data.checks.scale import check_precision, check_scale
from mftasks.data.table import MISSING, RatingsTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.records import Check, Severity

FIRST_RATED = datetime(1995, 1, 1, tzinfo=UTC)
"""MovieLens opened in 1995; no data set of its kind is older."""

LARGEST_RATING = 1e6
"""What is beyond, in either direction, ruins a training, unless the user says that it is meant."""

ODD = 10
"""Ratings so many interquartile ranges from the quartiles are warned of."""

_HOW_OUT = '; correct them, or set bad_rows to "drop"'
_TOLERANCE = 1e-4


class Expected(NamedTuple):
    """What the data should be like; `scale` is None for the user's own data.

    `bounds` are the lowest and the highest rating, if the user says so. `needs_timestamps` is set if
    the split relies on them.
    """

    scale: Scale | None
    counts: Counts
    needs_timestamps: bool
    bounds: tuple[float, float] | None = None


def check(table: RatingsTable, expected: Expected) -> tuple[Check, ...]:
    """Return every rule about `table` and whether it holds."""
    how_out = _HOW_OUT if expected.scale is None else ""
    return (
        *_check_ratings(table, expected, how_out),
        *check_ids(table, "user_id", table.users, how_out),
        *check_ids(table, "item_id", table.items, how_out),
        *_check_timestamps(table, expected),
        *_check_counts(table, expected.counts),
        *_check_sizes(table),
        *(_suspect(table, expected) if expected.scale is None else ()),
    )


def plausible(timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which timestamps lie between 1995 and tomorrow."""
    latest = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    return (timestamps >= FIRST_RATED.timestamp()) & (timestamps <= latest)


def _check_ratings(table: RatingsTable, expected: Expected, how_out: str) -> Iterator[Check]:
    ratings, scale = table.ratings, expected.scale
    column = Column(table, ratings)
    remedy = DROP if how_out else NONE
    wanted = f"a number{how_out}"
    yield column.check("rating is there", ~np.isnan(ratings), wanted, remedy=remedy)
    wanted = f"a finite number{how_out}"
    yield column.check("rating is finite", ~np.isinf(ratings), wanted, remedy=remedy)
    if expected.bounds:
        low, high = expected.bounds
        wanted = f"{low:g} to {high:g}, as scale is{_HOW_OUT}"
        yield column.check("rating is in range", _lie(ratings, low, high), wanted, remedy=DROP)
    if scale is None:
        return
    low, high, step = scale
    steps = (np.where(np.isfinite(ratings), ratings, low) - low) / step
    on_scale = np.abs(steps - np.rint(steps)) < _TOLERANCE
    yield column.check("rating is in range", _lie(ratings, low, high), f"{low:g} to {high:g}")
    yield column.check("rating is on the scale", on_scale, f"steps of {step:g} from {low:g}")


def _lie(ratings: Any, low: float, high: float) -> Any:
    """Return which ratings lie from `low` to `high`, or are found by another rule."""
    return ~np.isfinite(ratings) | ((ratings >= low) & (ratings <= high))


def _check_timestamps(table: RatingsTable, expected: Expected) -> Iterator[Check]:
    moments = table.timestamps
    if moments is None:
        if expected.needs_timestamps:
            yield judge("timestamp is there", False, "no column timestamp, which this split needs")
        return
    severity: Severity = "error" if expected.needs_timestamps or expected.scale else "warning"
    column = Column(table, moments)
    yield column.check("timestamp is there", moments != MISSING, "a moment", severity)
    wanted = f"seconds since 1970, from {FIRST_RATED:%Y} to tomorrow"
    credible = plausible(moments) | (moments == MISSING)
    yield column.check("timestamp is plausible", credible, wanted, severity)


def _check_counts(table: RatingsTable, counts: Counts) -> Iterator[Check]:
    found = Counts(table.n_ratings, len(table.users.known), len(table.items.known))
    for what, n_found, n_expected in zip(Counts._fields, found, counts, strict=True):
        if n_expected is not None:
            detail = f"{n_found:,} {what}, published are {n_expected:,}"
            yield judge(f"number of {what} is as published", n_found == n_expected, detail)


def _check_sizes(table: RatingsTable) -> Iterator[Check]:
    for what, ids in (("users", table.users), ("items", table.items)):
        n = len(ids.known)
        detail = f"{n:,} {what}; at least 2 are needed"
        yield judge(f"there are {what} to tell apart", n >= 2, detail)
    given = table.ratings[np.isfinite(table.ratings)]
    low, high = (float(given.min()), float(given.max())) if len(given) else (0.0, 0.0)
    detail = f"from {low:g} to {high:g}" if low < high else "there are not two different ones"
    yield judge("ratings differ", low < high, detail)


def _suspect(table: RatingsTable, expected: Expected) -> Iterator[Check]:
    """Judge data of the user's own by what is usual; `bounds` settle what the scale is."""
    if expected.bounds is None:
        found = check_scale(table)
        yield from found
        if all(one.passed or one.severity == "warning" for one in found):
            yield from _check_outliers(Column(table, table.ratings))
    yield check_precision(table)
    for name, ids in (("user_id", table.users), ("item_id", table.items)):
        yield from suspect_ids(table, name, ids)


def _check_outliers(column: Column) -> Iterator[Check]:
    """Bound ratings of an unknown scale: one of 1e20 ruins a training, one that is odd is shown."""
    largest = LARGEST_RATING
    wanted = (
        f"{-largest:,.0f} to {largest:,.0f}; correct these lines, divide all ratings, or set scale to "
        "the lowest and the highest that are meant"
    )
    yield column.check("rating is plausible", _lie(column.values, -largest, largest), wanted)
    finite = column.values[np.isfinite(column.values)]
    first, third = np.quantile(finite, (0.25, 0.75)).tolist() if len(finite) else (0.0, 0.0)
    if not (spread := third - first):
        return
    low, high = first - ODD * spread, third + ODD * spread
    wanted = (
        f"{low:g} to {high:g}, as half of the ratings are {first:g} to {third:g}; set scale to the "
        "lowest and the highest that can be given"
    )
    near = _lie(column.values, low, high)
    yield column.check("rating is near the others", near, wanted, "warning")
