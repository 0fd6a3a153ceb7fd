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


class Rule(NamedTuple):
    """A rule for single values: `holds` maps values to whether each keeps it."""

    name: str
    severity: Severity
    holds: Callable[[Any], Any]
    wanted: str


def check(table: RatingsTable, expected: Expected) -> tuple[Check, ...]:
    """Return every rule about `table` and whether it holds."""
    return (
        *_check_values(table, expected),
        _check_pairs(table),
        *_check_counts(table, expected.counts),
        *_check_sizes(table),
        *([_check_scale(table)] if expected.scale is None else []),
    )


def plausible(timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which timestamps lie between 1995 and tomorrow."""
    latest = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    return (timestamps >= FIRST_RATED.timestamp()) & (timestamps <= latest)


def _check_values(table: RatingsTable, expected: Expected) -> Iterator[Check]:
    for rule in _list_rating_rules(table.ratings, expected.scale):
        yield _apply(rule, table, table.ratings)
    for column, ids in (("user_id", table.users), ("item_id", table.items)):
        for rule in _list_id_rules(column, ids):
            yield _apply(rule, table, ids.known, ids.codes)
    strict = expected.needs_timestamps or expected.scale is not None
    if table.timestamps is not None:
        for rule in _list_timestamp_rules("error" if strict else "warning"):
            yield _apply(rule, table, table.timestamps)
    elif expected.needs_timestamps:
        yield _judge("timestamp is there", False, "no column timestamp, which this split needs")


def _list_rating_rules(ratings: NDArray[np.float32], scale: Scale | None) -> list[Rule]:
    rules = [
        Rule("rating is there", "error", lambda values: ~np.isnan(values), "a number"),
        Rule("rating is finite", "error", lambda values: ~np.isinf(values), "a finite number"),
    ]
    if scale is None:
        return [*rules, *_list_outlier_rules(ratings)]
    low, high, step = scale

    def is_on_step(values: Any) -> Any:
        steps = (np.where(np.isfinite(values), values, low) - low) / step
        return np.abs(steps - np.rint(steps)) < _TOLERANCE

    in_range = _allow(low, high)
    return [
        *rules,
        Rule("rating is in range", "error", in_range, f"{low:g} to {high:g}"),
        Rule("rating is on the scale", "error", is_on_step, f"steps of {step:g} from {low:g}"),
    ]


def _list_outlier_rules(ratings: NDArray[np.float32]) -> Iterator[Rule]:
    """Bound ratings of an unknown scale by what most of them are: one of 1e20 ruins a training."""
    finite = ratings[np.isfinite(ratings)]
    first, third = np.quantile(finite, (0.25, 0.75)).tolist() if len(finite) else (0.0, 0.0)
    spread = third - first or LARGEST_RATING
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
        yield Rule(name, severity, _allow(low, high), wanted)


def _allow(low: float, high: float) -> Callable[[Any], Any]:
    """Return a rule's `holds` for numbers from `low` to `high`; other rules find the others."""
    return lambda values: ~np.isfinite(values) | ((values >= low) & (values <= high))


def _list_id_rules(column: str, ids: EncodedIds) -> Iterator[Rule]:
    missing = MISSING if ids.known.dtype.kind == "i" else ""
    yield Rule(f"{column} is there", "error", lambda known: known != missing, "an id")
    if missing == "":
        name, wanted = (
            f"{column} is trimmed",
            "no blanks at either end, as `u1 ` and `u1` are two ids",
        )
        yield Rule(name, "warning", lambda known: known == np.char.strip(known), wanted)
    else:
        name = f"{column} is not negative"
        yield Rule(name, "error", lambda known: (known >= 0) | (known == MISSING), "0 or more")


def _list_timestamp_rules(severity: Severity) -> Iterator[Rule]:
    yield Rule("timestamp is there", severity, lambda moments: moments != MISSING, "a moment")
    yield Rule(
        "timestamp is plausible",
        severity,
        lambda moments: plausible(moments) | (moments == MISSING),
        f"seconds since 1970, from {FIRST_RATED:%Y} to tomorrow",
    )


def _apply(rule: Rule, table: RatingsTable, values: Any, codes: Any = None) -> Check:
    """Return whether `values` keep a rule; rating i has values[codes[i]], or just values[i]."""
    holds = rule.holds(values)
    passed = bool(holds.all())
    detail = f"all as expected: {rule.wanted}"
    if not passed:
        rows = np.flatnonzero(~(holds if codes is None else holds[codes]))
        places = rows if codes is None else codes[rows]
        shown = _list_first(
            len(rows), lambda n: f"{_show(values[places[n]])} in {table.name_row(rows[n])}"
        )
        detail = f"{len(rows):,} of {table.n_ratings:,}: {shown}; expected {rule.wanted}"
    return _judge(rule.name, passed, detail, rule.severity)


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
