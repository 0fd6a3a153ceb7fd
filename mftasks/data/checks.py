"""The rules that a ratings table must keep: of single values, and across rows.

Every rule ends as a `Check`. An error makes the data unfit for training; a warning is worth a look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mftasks.data.catalog import Counts, Scale
from mftasks.data.table import MISSING, EncodedIds, RatingsTable
from mftasks.errors import quote
from mftasks.records import Check, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIRST_RATED = datetime(1995, 1, 1, tzinfo=UTC)
"""MovieLens opened in 1995; no data set of its kind is older."""

LARGEST_RATING = 1e6
FAR, ODD = 100, 10
"""Ratings so many interquartile ranges from the quartiles are refused, or warned of."""

_SHOWN = 3
_TOLERANCE = 1e-4
_MANY_VALUES = 101


class Expected(NamedTuple):
    """What the data should be like; `scale` is None for the user's own data.

    `needs_timestamps` is set if the split relies on them.
    """

    scale: Scale | None
    counts: Counts
    needs_timestamps: bool


def check(table: RatingsTable, expected: Expected) -> tuple[Check, ...]:
    """Return every rule about `table` and whether it holds."""
    return (
        *_check_ratings(table, expected.scale),
        *_check_ids(table, "user_id", table.users),
        *_check_ids(table, "item_id", table.items),
        *_check_timestamps(table, expected),
        _check_pairs(table),
        *_check_counts(table, expected.counts),
        *_check_sizes(table),
        *([_check_scale(table)] if expected.scale is None else []),
    )


def plausible(timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which timestamps lie between 1995 and tomorrow."""
    latest = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    return (timestamps >= FIRST_RATED.timestamp()) & (timestamps <= latest)


class _Column(NamedTuple):
    """A column of a table: rating i has values[codes[i]], or just values[i]."""

    table: RatingsTable
    values: Any
    codes: NDArray[np.int32] | None = None

    def check(self, name: str, holds: Any, wanted: str, severity: Severity = "error") -> Check:
        """Return the rule `name`, which `holds` says of each value; messages ask for `wanted`."""
        if holds.all():
            return _judge(name, True, f"all as expected: {wanted}", severity)
        rows = np.flatnonzero(~(holds if self.codes is None else holds[self.codes]))
        shown = _list_first(len(rows), lambda n: self._show_row(rows[n]))
        detail = f"{len(rows):,} of {self.table.n_ratings:,}: {shown}; expected {wanted}"
        return _judge(name, False, detail, severity)

    def _show_row(self, row: int) -> str:
        value = self.values[row if self.codes is None else self.codes[row]]
        return f"{_show(value)} in {self.table.name_row(row)}"


def _check_ratings(table: RatingsTable, scale: Scale | None) -> Iterator[Check]:
    ratings = table.ratings
    column = _Column(table, ratings)
    yield column.check("rating is there", ~np.isnan(ratings), "a number")
    yield column.check("rating is finite", ~np.isinf(ratings), "a finite number")
    if scale is None:
        yield from _check_outliers(column)
        return
    low, high, step = scale
    steps = (np.where(np.isfinite(ratings), ratings, low) - low) / step
    on_scale = np.abs(steps - np.rint(steps)) < _TOLERANCE
    yield column.check("rating is in range", _lie(ratings, low, high), f"{low:g} to {high:g}")
    yield column.check("rating is on the scale", on_scale, f"steps of {step:g} from {low:g}")


def _check_outliers(column: _Column) -> Iterator[Check]:
    """Bound ratings of an unknown scale by what most of them are: one of 1e20 ruins a training."""
    finite = column.values[np.isfinite(column.values)]
    first, third = np.quantile(finite, (0.25, 0.75)).tolist() if len(finite) else (0.0, 0.0)
    spread = third - first or LARGEST_RATING
    if max(-first, third) > LARGEST_RATING:
        spread = np.inf  # the quartiles are out of bounds themselves
    bounds: tuple[tuple[str, Severity, float], ...] = (
        ("rating is plausible", "error", FAR * spread),
        ("rating is near the others", "warning", ODD * spread),
    )
    for name, severity, distance in bounds:
        low, high = max(first - distance, -LARGEST_RATING), min(third + distance, LARGEST_RATING)
        wanted = (
            f"{low:g} to {high:g}, as half of the ratings are {first:g} to {third:g}; "
            "correct or remove these lines, or bring all ratings to one scale"
        )
        yield column.check(name, _lie(column.values, low, high), wanted, severity)


def _lie(ratings: Any, low: float, high: float) -> Any:
    """Return which ratings lie from `low` to `high`, or are found by another rule."""
    return ~np.isfinite(ratings) | ((ratings >= low) & (ratings <= high))


def _check_ids(table: RatingsTable, name: str, ids: EncodedIds) -> Iterator[Check]:
    known: Any = ids.known
    column = _Column(table, known, ids.codes)
    if known.dtype.kind == "i":
        yield column.check(f"{name} is there", known != MISSING, "an id")
        natural = (known >= 0) | (known == MISSING)
        yield column.check(f"{name} is not negative", natural, "0 or more")
    else:
        yield column.check(f"{name} is there", known != "", "an id")
        wanted = "no blanks at either end, as `u1 ` and `u1` are two ids"
        yield column.check(f"{name} is trimmed", known == np.char.strip(known), wanted, "warning")


def _check_timestamps(table: RatingsTable, expected: Expected) -> Iterator[Check]:
    moments = table.timestamps
    if moments is None:
        if expected.needs_timestamps:
            yield _judge("timestamp is there", False, "no column timestamp, which this split needs")
        return
    severity: Severity = "error" if expected.needs_timestamps or expected.scale else "warning"
    column = _Column(table, moments)
    yield column.check("timestamp is there", moments != MISSING, "a moment", severity)
    wanted = f"seconds since 1970, from {FIRST_RATED:%Y} to tomorrow{_guess_unit(moments)}"
    credible = plausible(moments) | (moments == MISSING)
    yield column.check("timestamp is plausible", credible, wanted, severity)


def _guess_unit(timestamps: NDArray[np.int64]) -> str:
    """Return which finer unit the timestamps seem to have, for the end of a message."""
    for unit, per_second in (("milli", 10**3), ("micro", 10**6), ("nano", 10**9)):
        if plausible(timestamps // per_second).any():
            return f"; these look like {unit}seconds: divide them by {per_second:,}"
    return ""


def _judge(name: str, passed: bool, detail: str, severity: Severity = "error") -> Check:
    return Check(name=name, severity=severity, passed=passed, detail=detail)


def _list_first(n: int, describe: Callable[[int], str]) -> str:
    shown = ", ".join(describe(number) for number in range(min(n, _SHOWN)))
    return f"{shown}, …" if n > _SHOWN else shown


def _show(value: Any) -> str:
    if value.dtype.kind == "f":
        return "nothing" if value != value else f"{value:g}"
    return "nothing" if value in (MISSING, "") else quote(value.item())


def _check_pairs(table: RatingsTable) -> Check:
    """Check that nobody rated anything twice, by sorting one key per rating."""
    keys = table.pair_keys()
    keys.sort()
    doubled = np.unique(keys[1:][keys[1:] == keys[:-1]])
    users, items = np.divmod(doubled, len(table.items.known))
    shown = _list_first(
        len(doubled),
        lambda n: f"({_show(table.users.known[users[n]])}, {_show(table.items.known[items[n]])})",
    )
    detail = f"{len(keys):,} different pairs"
    if len(doubled):
        detail = f"{len(doubled):,} pairs are rated more than once: {shown}"
    return _judge("user and item are a pair only once", not len(doubled), detail)


def _check_counts(table: RatingsTable, counts: Counts) -> Iterator[Check]:
    found = Counts(table.n_ratings, len(table.users.known), len(table.items.known))
    for what, n_found, n_expected in zip(Counts._fields, found, counts, strict=True):
        if n_expected is not None:
            detail = f"{n_found:,} {what}, published are {n_expected:,}"
            yield _judge(f"number of {what} is as published", n_found == n_expected, detail)


def _check_sizes(table: RatingsTable) -> Iterator[Check]:
    for what, ids in (("users", table.users), ("items", table.items)):
        n = len(ids.known)
        detail = f"{n:,} {what}; at least 2 are needed"
        yield _judge(f"there are {what} to tell apart", n >= 2, detail)
    given = table.ratings[np.isfinite(table.ratings)]
    low, high = (float(given.min()), float(given.max())) if len(given) else (0.0, 0.0)
    detail = f"from {low:g} to {high:g}" if low < high else "there are not two different ones"
    yield _judge("ratings differ", low < high, detail)


def _check_scale(table: RatingsTable) -> Check:
    """Warn of what is unusual in ratings whose scale is not known."""
    values = np.unique(table.ratings[np.isfinite(table.ratings)])
    passed = len(values) <= _MANY_VALUES and bool((values >= 0).all())
    detail = f"{len(values):,} different values"
    if len(values):
        detail += f" from {values[0]:g} to {values[-1]:g}"
    detail += f"; a scale has at most {_MANY_VALUES}, none below 0"
    return _judge("ratings look like a scale", passed, detail, "warning")
