"""Decide on odd rows as a user chose: unreadable ones, codes for "no rating", copies, contradictions.

Every step that reads ratings sees the same cleaned table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mftasks.data.table import MISSING, EncodedIds, RatingsTable, compact
from mftasks.reading.duplicates import fail, name_rows, settle_pairs, warn
from mftasks.reading.kinds import MOST_SHOWN
from mftasks.reading.reader import Reading, read
from mftasks.reading.understanding import understand
from mftasks.records import Check, Layout, ReadConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

READABLE = "every row can be read"


class Cleaned(NamedTuple):
    """The ratings to train on, and the rules on single rows with what was done about them.

    `dropped` counts the rows that were left out, by reason.
    """

    table: RatingsTable
    checks: tuple[Check, ...] = ()
    dropped: dict[str, int] = {}


def load(
    paths: Sequence[Path], layout: Layout | None, config: ReadConfig, names: Sequence[str] = ()
) -> Cleaned:
    """Read files of ratings, and clean them; a layout that is not known is found out."""
    layout = layout or understand(paths, config, names)
    return clean(read(paths, layout, config, names), config)


def clean(reading: Reading, config: ReadConfig) -> Cleaned:
    """Leave out, or complain about, the rows of a reading that are not as they should be."""
    table = reading.table
    checks, dropped = list(reading.notes), {}
    for step in (_leave_out_empty, _leave_out_missing, _leave_out_bad, _settle_doubled):
        before = table.n_ratings
        table, found = step(table, reading, config)
        checks += found
        if table.n_ratings < before:
            dropped[_NAMES[step]] = before - table.n_ratings
    if config.bad_rows == "drop" and reading.unreadable.n_rows:
        dropped["bad"] = dropped.get("bad", 0) + reading.unreadable.n_rows
    if dropped:
        table = table._replace(users=compact(table.users), items=compact(table.items))
    return Cleaned(table, tuple(checks), dropped)


def _leave_out_empty(
    table: RatingsTable, reading: Reading, config: ReadConfig
) -> tuple[RatingsTable, list[Check]]:
    """Leave out rows without user, item and rating, as spreadsheets export them below a table."""
    empty = np.isnan(table.ratings)
    if empty.any():
        empty &= _lack(table.users) & _lack(table.items)
    if not empty.any():
        return table, []
    detail = f"{name_rows(table, empty)} hold neither user, item nor rating, and are left out"
    return table.take(~empty), [warn("no row is empty", detail)]


def _leave_out_missing(
    table: RatingsTable, reading: Reading, config: ReadConfig
) -> tuple[RatingsTable, list[Check]]:
    if not config.missing:
        return table, []
    coded = np.isin(table.ratings, np.array(config.missing, np.float32))
    listed = ", ".join(f"{code:g}" for code in config.missing)
    detail = f"{int(coded.sum()):,} rows are left out, as missing is [{listed}]"
    check = Check(name="codes for no rating", severity="warning", passed=True, detail=detail)
    if not coded.any():
        detail = f"no rating is one of [{listed}], which missing says"
        return table, [warn("codes for no rating", detail)]
    return table.take(~coded), [check]


def _leave_out_bad(
    table: RatingsTable, reading: Reading, config: ReadConfig
) -> tuple[RatingsTable, list[Check]]:
    """Leave out what cannot be read, lacks a value or is off the scale, if so chosen."""
    unreadable = reading.unreadable
    lacking = ~np.isfinite(table.ratings) | _lack(table.users) | _lack(table.items)
    if config.scale:
        low, high = config.scale
        with np.errstate(invalid="ignore"):
            lacking |= (table.ratings < low) | (table.ratings > high)
    n_bad, n_rows = int(lacking.sum()) + unreadable.n_rows, table.n_ratings + unreadable.n_rows
    if not n_bad:
        return table, []
    shown = [*unreadable.examples, *_describe(table, lacking)][:MOST_SHOWN]
    listed = "; ".join(shown)
    if config.bad_rows == "drop":
        if n_bad > config.bad_rows_share * n_rows:
            detail = (
                f"{n_bad:,} of {n_rows:,} rows, {n_bad / n_rows:.1%}, are more than the "
                f"{config.bad_rows_share:.1%} that bad_rows_share allows to drop: {listed}"
            )
            return table, [fail(READABLE, detail, {})]
        detail = f"{n_bad:,} of {n_rows:,} rows are dropped: {listed}"
        return table.take(~lacking), [warn(READABLE, detail)]
    if not unreadable.n_rows:
        return table, []  # the rules on values find the rest
    detail = (
        f"{unreadable.n_rows:,} of {n_rows:,} rows cannot: {'; '.join(unreadable.examples)}; correct "
        'them, or set bad_rows to "drop"'
    )
    return table, [fail(READABLE, detail, {"bad_rows": "drop"})]


def _settle_doubled(
    table: RatingsTable, reading: Reading, config: ReadConfig
) -> tuple[RatingsTable, list[Check]]:
    return settle_pairs(table, config.duplicates)


_NAMES = {
    _leave_out_empty: "empty",
    _leave_out_missing: "missing",
    _leave_out_bad: "bad",
    _settle_doubled: "duplicates",
}


def _lack(ids: EncodedIds) -> NDArray[np.bool_]:
    """Return which ratings lack an id."""
    nothing: Any = MISSING if ids.known.dtype.kind == "i" else ""
    known: Any = ids.known
    if not len(known) or known[0] != nothing:  # it would be sorted first
        return np.zeros(len(ids.codes), bool)
    return np.asarray(ids.codes == 0)


def _describe(table: RatingsTable, chosen: NDArray[np.bool_]) -> Iterator[str]:
    """Yield what rows lack, the first ten."""
    for row in np.flatnonzero(chosen)[:MOST_SHOWN]:
        user, item = (ids.known[ids.codes[row]].item() for ids in (table.users, table.items))
        cells = {"user": user, "item": item, "rating": table.ratings[row].item()}
        empty = [name for name, cell in cells.items() if cell in ("", MISSING) or cell != cell]
        what = f"no {' and no '.join(empty)}" if empty else f"rating {cells['rating']:g}"
        yield f"{table.name_row(int(row))}: {what}"
