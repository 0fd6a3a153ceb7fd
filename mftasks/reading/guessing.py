"""Guess the columns of a file without header by what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mftasks.reading.columns import Found
from mftasks.reading.dialect import FEWEST, is_number

if TYPE_CHECKING:
    from mftasks.records import Column

LARGEST_RATING = 1_000
_OLDEST = 631152000  # 1990, in seconds since 1970


def guess_columns(rows: Sequence[Sequence[str]], decimal: str) -> Found:
    """Return which columns hold users, items, ratings and times, as most files have them.

    The first two are users and items; the first column of numbers after them is the ratings, unless
    all are as large as times are.
    """
    width = len(rows[0])
    even = [row for row in rows if len(row) == width]
    cells = {place: [row[place] for row in even] for place in range(width)}
    numeric = [place for place in range(2, width) if _are_numbers(cells[place])]
    times = [place for place in range(2, width) if _look_like_times(cells[place], decimal)]
    ratings = [place for place in numeric if place not in times] or numeric
    if width < FEWEST or not ratings:
        return Found({})
    found: dict[Column, int] = {"user": 0, "item": 1, "rating": ratings[0]}
    rest = [place for place in times if place != ratings[0]]
    if rest:
        found["timestamp"] = rest[0]
    return Found(found)


def _are_numbers(cells: Sequence[str]) -> bool:
    given = [cell for cell in cells if cell.strip()]
    return bool(given) and all(map(is_number, given))


def _look_like_times(cells: Sequence[str], decimal: str) -> bool:
    given = [cell.strip() for cell in cells if cell.strip()]
    if not given:
        return False
    if _are_numbers(given):
        return all(float(cell.replace(decimal, ".")) >= _OLDEST for cell in given)
    return all(
        len(cell) >= 8 and cell[:1].isdigit() and cell.count(cell[4:5]) >= 1 for cell in given
    ) and all(sum(letter in "-/:." for letter in cell) >= 2 for cell in given)
