"""Judge the scale of ratings by how they are distributed, as nobody has told us what it is.

Least and greatest alone would let one cell decide it, and clipping and damping with it. So a value that
lies far from an even or bounded rest, zeros that stick out below a scale, and users who are all on one
side of a wide gap must be settled before training. Counts, such as plays or hours, have long tails, and
are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mftasks.data.checks.outlying import CODES, Outlying, find_outlying, is_even, looks_counted
from mftasks.data.checks.rule import DROP, judge, list_first

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.table import RatingsTable
    from mftasks.records import Check

NEAR = "ratings lie near each other"
ZEROS = "zeros are ratings"
ONE_SCALE = "ratings are on one scale"

FEWEST = 10
"""Fewer ratings have no distribution to judge."""

_LARGEST_SHARE = 1 / 3
_HIGHEST_SCALE = 10
_ONE_SIDED, _FEWEST_RATINGS, _FEWEST_USERS = 0.95, 2, 2
_MOST_STEPS, _FAR_STEPS = 200, 3


def check_scale(table: RatingsTable) -> list[Check]:
    """Return what must be settled about ratings whose scale is not known, and what is odd."""
    values, counts = count_values(table.ratings)
    outlying, values, counts = find_outlying(values, counts)
    found = [_describe_outlying(table, one) for one in outlying]
    found += _check_zeros(table, values, counts)
    found += _check_one_scale(table, values)
    return found or [judge("ratings look like a scale", True, "none lies far from the others")]


def check_precision(table: RatingsTable) -> Check:
    """Return whether ratings are small enough for single precision to tell them apart."""
    largest = float(np.abs(table.ratings[np.isfinite(table.ratings)]).max(initial=0))
    name = "ratings fit single precision"
    if largest <= 2**24:
        return judge(name, True, f"none is above {2**24:,}", "warning")
    detail = (
        f"the largest is {largest:.9g}, and above {2**24:,} neighbouring whole numbers become one; "
        "divide all ratings by a thousand or more"
    )
    return judge(name, False, detail, "warning")


def count_values(ratings: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the distinct finite ratings, sorted, and how often each was given."""
    ordered = np.sort(ratings[np.isfinite(ratings)])
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    return ordered[starts].astype(np.float64), np.diff(np.append(starts, len(ordered)))


def _describe_outlying(table: RatingsTable, one: Outlying) -> Check:
    listed = ", ".join(map(_show, one.values))
    low, high = min(one.values[0], one.low), max(one.values[-1], one.high)
    it = "it is" if len(one.values) == 1 else "they are"
    detail = (
        f"{_count(table, one.values, one.n, one.n_all)}, and the others are {_show(one.low)} to "
        f"{_show(one.high)}; if that means that there is no rating, set missing to [{listed}]; if {it} "
        f"meant, set scale to [{_show(low)}, {_show(high)}]; if {it} a mistake, set scale to "
        f'[{_show(one.low)}, {_show(one.high)}] and bad_rows to "drop"'
    )
    is_error = one.is_error and one.n_all >= FEWEST
    remedy = {"scale": [one.low, one.high], **DROP}
    if np.isin(one.values, CODES).all():
        remedy = {"missing": one.values.tolist()}
    return judge(NEAR, False, detail, "error" if is_error else "warning", remedy)


def _check_zeros(
    table: RatingsTable, values: NDArray[Any], counts: NDArray[Any]
) -> Iterator[Check]:
    """Suspect zeros that stick out below a scale: often they mean "not rated"."""
    if not 4 <= len(values) <= _MOST_STEPS or values[0] != 0 or values[1] > 1:
        return
    rest, others = values[1:], counts[1:]
    if rest[-1] > _HIGHEST_SCALE or not is_even(rest, others):
        return
    n_all = int(counts.sum())
    is_many = counts[0] > _LARGEST_SHARE * n_all and counts[0] > others.max()
    if not is_many and others[0] / 10 <= counts[0] <= 1.5 * others[0]:
        return
    detail = (
        f"{_count(table, values[:1], int(counts[0]), n_all)}, and the others are {_show(rest[0])} to "
        f"{_show(rest[-1])}; if 0 means that there is no rating, set missing to [0]; if it is one, "
        f"set scale to [0, {_show(rest[-1])}]"
    )
    is_error = is_many and n_all >= FEWEST and not looks_counted(rest, others)
    yield judge(ZEROS, False, detail, "error" if is_error else "warning", {"missing": [0]})


def _check_one_scale(table: RatingsTable, values: NDArray[Any]) -> Iterator[Check]:
    """Suspect a wide gap with users who are all on one of its sides, as two scales leave."""
    if not 4 <= len(values) <= _MOST_STEPS:
        return
    for at in _find_gaps(values):
        low, high = _count_sides(table, values[at])
        if min(low, high) < _FEWEST_USERS:
            continue
        detail = (
            f"{low:,} users rate {_show(values[0])} to {_show(values[at])} only, and {high:,} rate "
            f"{_show(values[at + 1])} to {_show(values[-1])} only; bring all to one scale, or set "
            f"scale to [{_show(values[0])}, {_show(values[-1])}] if they are on one"
        )
        yield judge(ONE_SCALE, False, detail)
        return


def _find_gaps(values: NDArray[Any]) -> Iterator[int]:
    """Yield where steps are as wide as all below, and many times the usual one there."""
    steps = np.diff(values)
    for at in range(1, len(steps)):
        below = steps[:at]
        if steps[at] >= values[at] - values[0] and steps[at] >= _FAR_STEPS * np.median(below):
            yield at


def _count_sides(table: RatingsTable, top: float) -> tuple[int, int]:
    """Return how many users rate only up to `top`, and only above it; 0 if more than a few do both."""
    finite = np.isfinite(table.ratings)
    users, is_high = table.users.codes[finite], table.ratings[finite] > np.float32(top)
    n_each = np.bincount(users)
    n_high = np.bincount(users, weights=is_high, minlength=len(n_each))
    active = n_each >= _FEWEST_RATINGS
    low, high = int(np.sum(n_high[active] == 0)), int(np.sum((n_high == n_each)[active]))
    return (low, high) if low + high >= _ONE_SIDED * active.sum() else (0, 0)


def _count(table: RatingsTable, values: NDArray[Any], n: int, n_all: int) -> str:
    rows = np.flatnonzero(np.isin(table.ratings, values.astype(np.float32)))
    places = list_first(len(rows), lambda number: table.name_row(int(rows[number])))
    verb = "is" if len(values) == 1 else "are"
    return f"{', '.join(map(_show, values))} {verb} {n:,} of {n_all:,} ratings ({places})"


def _show(value: float) -> str:
    """Return a rating, so that a parameter of the same text is equal to it."""
    short = f"{value:g}"
    if np.float32(short) == np.float32(value):
        return short
    return np.format_float_scientific(np.float32(value), trim="-")
