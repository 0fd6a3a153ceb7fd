"""The rules that a ratings table must keep: of single values (a pandera schema), and across rows.

Every rule ends as a `Check`. An error makes the data unfit for training; a warning is worth a look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from mftasks.data.catalog import Counts, Scale
from mftasks.data.table import MISSING, EncodedIds, RatingsTable
from mftasks.records import Check, Severity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIRST_RATED = datetime(1995, 1, 1, tzinfo=UTC)
"""MovieLens opened in 1995; no data set of its kind is older."""

_SHOWN = 3
_TOLERANCE = 1e-4
_MANY_VALUES = 101


class Expected(NamedTuple):
    """Hold what the data should be like; `scale` is None for data of one's own.

    `needs_timestamps` says that the split relies on them.
    """

    scale: Scale | None
    counts: Counts
    needs_timestamps: bool


class Rule(NamedTuple):
    """Hold one rule of single values: `holds` maps values to whether each keeps it."""

    name: str
    severity: Severity
    holds: Callable[[Any], Any]
    wanted: str


def check(table: RatingsTable, expected: Expected) -> tuple[Check, ...]:
    """Return every rule about `table` and whether it holds."""
    return (
        *_of_values(table, expected),
        _pairs(table),
        *_counts(table, expected.counts),
        *_sizes(table),
        *(_oddities(table) if expected.scale is None else ()),
    )


def plausible(timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which timestamps lie between 1995 and tomorrow."""
    latest = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    return (timestamps >= FIRST_RATED.timestamp()) & (timestamps <= latest)


def _of_values(table: RatingsTable, expected: Expected) -> Iterator[Check]:
    yield from _kept("rating", table.ratings, None, _rating_rules(expected.scale))
    for column, ids in (("user_id", table.users), ("item_id", table.items)):
        yield from _kept(column, ids.known, ids.codes, _id_rules(column, ids))
    if table.timestamps is not None:
        severity: Severity = (
            "error" if expected.needs_timestamps or expected.scale is not None else "warning"
        )
        yield from _kept("timestamp", table.timestamps, None, _timestamp_rules(severity))
    elif expected.needs_timestamps:
        yield Check(
            name="timestamp is there",
            severity="error",
            passed=False,
            detail="no column timestamp, which this split needs",
        )


def _rating_rules(scale: Scale | None) -> list[Rule]:
    import numpy as np

    rules = [
        Rule("rating is there", "error", lambda values: ~np.isnan(values), "a number"),
        Rule("rating is finite", "error", lambda values: ~np.isinf(values), "a finite number"),
    ]
    if scale is None:
        return rules
    low, high, step = scale

    def in_range(values: Any) -> Any:
        return ~np.isfinite(values) | ((values >= low) & (values <= high))

    def on_step(values: Any) -> Any:
        steps = (np.where(np.isfinite(values), values, low) - low) / step
        return np.abs(steps - np.rint(steps)) < _TOLERANCE

    return [
        *rules,
        Rule("rating is in range", "error", in_range, f"{low:g} to {high:g}"),
        Rule("rating is on the scale", "error", on_step, f"steps of {step:g} from {low:g}"),
    ]


def _id_rules(column: str, ids: EncodedIds) -> list[Rule]:
    if ids.known.dtype.kind == "i":
        return [
            Rule(f"{column} is there", "error", lambda known: known != MISSING, "an id"),
            Rule(
                f"{column} is not negative",
                "error",
                lambda known: (known >= 0) | (known == MISSING),
                "0 or more",
            ),
        ]
    return [Rule(f"{column} is there", "error", lambda known: known != "", "an id")]


def _timestamp_rules(severity: Severity) -> list[Rule]:
    return [
        Rule("timestamp is there", severity, lambda moments: moments != MISSING, "a moment"),
        Rule(
            "timestamp is plausible",
            severity,
            lambda moments: plausible(moments) | (moments == MISSING),
            f"seconds since 1970, from {FIRST_RATED:%Y} to tomorrow",
        ),
    ]


def _kept(column: str, values: Any, codes: Any, rules: list[Rule]) -> Iterator[Check]:
    """Yield whether `values` keep each rule; rating i has values[codes[i]], or just values[i]."""
    broken = _broken(column, values, rules)
    for rule in rules:
        passed = rule.name not in broken
        yield Check(
            name=rule.name,
            severity=rule.severity,
            passed=passed,
            detail=f"all as expected: {rule.wanted}" if passed else _detail(values, codes, rule),
        )


def _broken(column: str, values: Any, rules: list[Rule]) -> set[str]:
    """Return the names of the rules that a pandera schema finds broken."""
    import pandas as pd
    import pandera.pandas as pa
    from pandera.errors import SchemaErrorReason

    def as_check(rule: Rule) -> Any:
        return pa.Check(
            lambda series: pd.Series(rule.holds(series.to_numpy())),
            name=rule.name,
            ignore_na=False,
            n_failure_cases=_SHOWN,
        )

    kind = object if values.dtype.kind == "U" else values.dtype.name
    checks = [as_check(rule) for rule in rules]
    schema = pa.SeriesSchema(kind, checks=checks, nullable=True, name=column)
    try:
        schema.validate(pd.Series(values, name=column, copy=False), lazy=True, inplace=True)
    except pa.errors.SchemaErrors as errors:
        unforeseen = {error.reason_code for error in errors.schema_errors}
        if unforeseen != {SchemaErrorReason.DATAFRAME_CHECK}:
            raise
        return {error.check.name for error in errors.schema_errors}
    return set()


def _detail(values: Any, codes: Any, rule: Rule) -> str:
    import numpy as np

    n_ratings = len(values if codes is None else codes)
    bad = ~np.asarray(rule.holds(values))
    rows = np.flatnonzero(bad if codes is None else bad[codes])
    first = rows[:_SHOWN]
    shown = ", ".join(
        f"{_shown(value)} in row {row + 1:,}"
        for row, value in zip(first, values[first if codes is None else codes[first]], strict=True)
    )
    more = ", …" if len(rows) > _SHOWN else ""
    return f"{len(rows):,} of {n_ratings:,}: {shown}{more}; expected {rule.wanted}"


def _shown(value: Any) -> str:
    if value == MISSING or value == "" or value != value:
        return "nothing"
    return f"{value:g}" if value.dtype.kind == "f" else repr(value.item())


def _pairs(table: RatingsTable) -> Check:
    """Check that nobody rated anything twice, by sorting one key a rating."""
    import numpy as np

    keys = table.pair_keys()
    keys.sort()
    doubled = np.unique(keys[1:][keys[1:] == keys[:-1]])
    n_items = len(table.items.known)
    shown = ", ".join(
        f"({_shown(table.users.known[key // n_items])}, {_shown(table.items.known[key % n_items])})"
        for key in doubled[:_SHOWN]
    )
    more = ", …" if len(doubled) > _SHOWN else ""
    return Check(
        name="user and item are a pair only once",
        severity="error",
        passed=not len(doubled),
        detail=f"{len(doubled):,} pairs are rated more than once: {shown}{more}"
        if len(doubled)
        else f"{len(keys):,} different pairs",
    )


def _counts(table: RatingsTable, counts: Counts) -> Iterator[Check]:
    found = Counts(table.n_ratings, len(table.users.known), len(table.items.known))
    for what, n_found, n_expected in zip(Counts._fields, found, counts, strict=True):
        if n_expected is not None:
            yield Check(
                name=f"number of {what} is as published",
                severity="error",
                passed=n_found == n_expected,
                detail=f"{n_found:,} {what}, published are {n_expected:,}",
            )


def _sizes(table: RatingsTable) -> Iterator[Check]:
    import numpy as np

    for what, ids in (("users", table.users), ("items", table.items)):
        n = len(ids.known)
        yield Check(
            name=f"there are {what} to tell apart",
            severity="error",
            passed=n >= 2,
            detail=f"{n:,} {what}; at least 2 are needed",
        )
    given = table.ratings[np.isfinite(table.ratings)]
    low, high = (float(given.min()), float(given.max())) if len(given) else (0.0, 0.0)
    yield Check(
        name="ratings differ",
        severity="error",
        passed=low < high,
        detail=f"from {low:g} to {high:g}" if low < high else "there are not two different ones",
    )


def _oddities(table: RatingsTable) -> Iterator[Check]:
    """Warn of what is unusual in ratings whose scale nobody has told."""
    import numpy as np

    values = np.unique(table.ratings[np.isfinite(table.ratings)])
    spread = f"{len(values):,} different values"
    if len(values):
        spread += f" from {values[0]:g} to {values[-1]:g}"
    yield Check(
        name="ratings look like a scale",
        severity="warning",
        passed=len(values) <= _MANY_VALUES and bool((values >= 0).all()),
        detail=f"{spread}; a scale has at most {_MANY_VALUES}, none below 0",
    )
