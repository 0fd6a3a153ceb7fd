"""Times in whatever way they are written become seconds since 1970, and are never dropped silently."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from mftasks.data.table import MISSING
from mftasks.reading import moments

WHEN = 1300000000  # 2011-03-13 07:06:40


def convert(*cells: Any, kind: Any = None) -> moments.Moments:
    return moments.convert(pa.chunked_array([pa.array(cells, kind)]))


@pytest.mark.parametrize(
    ("cells", "written"),
    [
        ([WHEN], "seconds"),
        ([float(WHEN)], "seconds"),
        ([WHEN * 10**3 + 7], "milliseconds"),
        ([WHEN * 10**6], "microseconds"),
        ([WHEN * 10**9], "nanoseconds"),
        ([40615.29629629629], "days of Excel"),
        (["2011-03-13T07:06:40"], "ISO 8601"),
        (["2011-03-13 07:06:40.123456717"], "ISO 8601"),
        (["20110313T070640Z"], "ISO 8601"),
        (["2011-03-13 08:06:40+01:00"], "ISO 8601"),
        (["2011-03-13T02:06:40-0500"], "ISO 8601"),
        (["2011/03/13 07:06:40", "2011-03-13T07:06:40Z"], "ISO 8601"),
        (["13/03/2011 07:06:40", "01/02/2011"], "day, month and year"),
        (["03/13/2011 07:06:40", "01/02/2011"], "day, month and year"),
        (["13.03.2011 07:06:40"], "day, month and year"),
        ([datetime(2011, 3, 13, 7, 6, 40, tzinfo=UTC)], "ISO 8601"),
    ],
)
def test_times_become_seconds(cells: list[Any], written: str) -> None:
    found = convert(*cells)
    assert (int(found.seconds[0]), found.written, found.n_unreadable) == (WHEN, written, 0)


def test_days_without_a_time_begin_at_midnight() -> None:
    assert convert("2011-03-13").seconds.tolist() == [WHEN - WHEN % 86400]
    assert convert(date(2011, 3, 13)).seconds.tolist() == [WHEN - WHEN % 86400]


def test_whether_the_day_comes_first_is_not_guessed() -> None:
    found = convert("01/02/2011", "03/04/2011")
    assert found.seconds.tolist() == [MISSING, MISSING]
    assert found.n_unreadable == 2
    assert (
        "whether the day or the month comes first cannot be known, as in '01/02/2011'"
        in found.complaint
    )


def test_what_is_no_time_is_counted_and_shown_and_what_is_missing_is_not() -> None:
    found = convert("2011-03-13T07:06:40Z", "soon", "", None, "NaT", "2011-02-31", "later")
    assert found.seconds.tolist() == [WHEN] + [MISSING] * 6
    assert found.n_unreadable == 3
    assert "'soon', '2011-02-31', 'later'" in found.complaint


def test_missing_numbers_stay_missing() -> None:
    assert convert(WHEN, None, kind=pa.int64()).seconds.tolist() == [WHEN, MISSING]
    assert convert(float(WHEN), None, float("nan")).seconds.tolist() == [WHEN, MISSING, MISSING]


def test_a_column_of_another_type_is_unreadable() -> None:
    assert convert(True, False).n_unreadable == 2
