"""Settle rows that repeat a user and an item: exact copies, and ratings that contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mftasks.data.table import MISSING, RatingsTable
from mftasks.errors import quote
from mftasks.reading.kinds import MOST_SHOWN
from mftasks.records import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Choice = Literal["refuse", "last", "first", "mean"]

ONCE = "user and item are a pair only once"


def settle_pairs(table: RatingsTable, choice: Choice) -> tuple[RatingsTable, list[Check]]:
    """Leave out exact copies, and of contradicting ratings all but what was chosen."""
    rows = _find_doubled(table)
    if not len(rows):
        detail = f"{table.n_ratings:,} different pairs"
        return table, [Check(name=ONCE, severity="error", passed=True, detail=detail)]
    table, rows, checks = _drop_copies(table, rows)
    if not len(rows):
        return table, checks
    pairs = table.pair_keys()[rows]
    n_pairs = len(np.unique(pairs))
    what = f"{n_pairs:,} pairs are rated more than once: {_name_pairs(table, rows)}"
    if choice == "refuse":
        detail = f'{what}; correct them, or set duplicates to "last", "first" or "mean"'
        return table, [*checks, fail(ONCE, detail, {"duplicates": "last"})]
    detail = f"{what}; of each the {choice} is taken, {len(rows) - n_pairs:,} rows are left out"
    return _keep_one(table, rows, pairs, choice), [*checks, warn(ONCE, detail)]


def name_rows(table: RatingsTable, chosen: NDArray[np.bool_]) -> str:
    """Return how many rows are chosen, and where the first ten are."""
    rows = np.flatnonzero(chosen)
    listed = ", ".join(table.name_row(int(row)) for row in rows[:MOST_SHOWN])
    return f"{len(rows):,} rows ({listed}{', …' if len(rows) > MOST_SHOWN else ''})"


def warn(name: str, detail: str) -> Check:
    """Return a rule that does not hold, and need not."""
    return Check(name=name, severity="warning", passed=False, detail=detail)


def fail(name: str, detail: str, remedy: dict[str, Any]) -> Check:
    """Return a rule that does not hold, and must."""
    return Check(name=name, severity="error", passed=False, detail=detail, remedy=remedy)


def _find_doubled(table: RatingsTable) -> NDArray[np.intp]:
    """Return the rows whose pair of user and item is there more than once, in their order."""
    keys = table.pair_keys()
    keys.sort()
    doubled = np.unique(keys[1:][keys[1:] == keys[:-1]])
    if not len(doubled):
        return np.empty(0, np.intp)
    keys = table.pair_keys()
    places = np.minimum(np.searchsorted(doubled, keys), len(doubled) - 1)
    return np.flatnonzero(doubled[places] == keys)


def _drop_copies(
    table: RatingsTable, rows: NDArray[np.intp]
) -> tuple[RatingsTable, NDArray[np.intp], list[Check]]:
    """Leave out all but the first of rows that are the same in every column."""
    cells = [table.pair_keys()[rows], table.ratings[rows].astype(np.float64)]
    if table.timestamps is not None:
        cells.append(table.timestamps[rows])
    order = np.lexsort([rows, *cells])
    same = np.ones(max(len(rows) - 1, 0), bool)
    for column in cells:
        same &= column[order][1:] == column[order][:-1]
    copies = rows[order][1:][same]
    if not len(copies):
        return table, rows, []
    chosen = np.ones(table.n_ratings, bool)
    chosen[copies] = False
    detail = f"{name_rows(table, ~chosen)} repeat another row exactly, and are left out"
    table = table.take(chosen)
    return table, _find_doubled(table), [warn("no row is there twice", detail)]


def _keep_one(
    table: RatingsTable, rows: NDArray[np.intp], pairs: NDArray[Any], choice: Choice
) -> RatingsTable:
    """Return the table with one row of each pair, which stays in its place."""
    order = _order(table, rows, pairs)
    last = np.append(pairs[order][1:] != pairs[order][:-1], True)
    first = np.append(True, last[:-1])
    kept = rows[order][first if choice == "first" else last]
    if choice == "mean":
        group = np.cumsum(first) - 1
        ratings = table.ratings.copy()
        ratings[kept] = np.bincount(group, table.ratings[rows[order]]) / np.bincount(group)
        table = table._replace(ratings=ratings)
    chosen = np.ones(table.n_ratings, bool)
    chosen[rows] = False
    chosen[kept] = True
    return table.take(chosen)


def _order(table: RatingsTable, rows: NDArray[Any], pairs: NDArray[Any]) -> NDArray[np.intp]:
    """Order rows by pair, then by time if all rows of the pair have one, then by place in the file."""
    keys: list[NDArray[Any]] = [rows, pairs]
    if table.timestamps is not None:
        times = table.timestamps[rows]
        untimed = np.isin(pairs, pairs[times == MISSING])
        keys.insert(1, np.where(untimed, 0, times))
    order: NDArray[np.intp] = np.lexsort(keys)
    return order


def _name_pairs(table: RatingsTable, rows: NDArray[np.intp]) -> str:
    """Name the first ten pairs in the order of the file, each with the lines that it is on."""
    pairs = table.pair_keys()[rows]
    distinct, first = np.unique(pairs, return_index=True)
    shown = []
    for pair in distinct[np.argsort(first)][:MOST_SHOWN]:
        same = rows[pairs == pair]
        user, item = (
            quote(ids.known[ids.codes[same[0]]].item()) for ids in (table.users, table.items)
        )
        places = ", ".join(table.name_row(int(row)) for row in same[:3])
        shown.append(f"({user}, {item}) in {places}")
    return "; ".join([*shown, *(["…"] if len(distinct) > MOST_SHOWN else [])])
