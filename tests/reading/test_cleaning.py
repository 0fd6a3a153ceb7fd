"""Odd rows are refused, dropped or settled as a user chose; each is counted and named by its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mftasks import reading
from mftasks.records import Check
from tests.reading import tables

HEADER = "user_id,item_id,rating,timestamp\n"
READABLE, ONCE = "every row can be read", "user and item are a pair only once"
MANY = "".join(f"{user},{item},4,5\n" for user in range(10, 40) for item in range(10, 30))


def load(folder: Path, text: str, **config: Any) -> reading.Cleaned:
    return tables.load(tables.put(folder, HEADER + text), **config)


def find_failed(cleaned: reading.Cleaned) -> list[Check]:
    return [check for check in cleaned.checks if not check.passed]


def test_clean_data_stay_as_they_are(tmp_path: Path) -> None:
    cleaned = load(tmp_path, MANY)
    assert (find_failed(cleaned), cleaned.dropped) == ([], {})
    assert cleaned.table.n_ratings == 600
    assert cleaned.table.places is None


TWICE = "1,7,4,50\n2,7,3,1\n1,7,5,40\n1,8,2,1\n"


@pytest.mark.parametrize(("duplicates", "rating"), [("last", 4.0), ("first", 5.0), ("mean", 4.5)])
def test_contradicting_ratings_are_settled_by_time(
    tmp_path: Path, duplicates: str, rating: float
) -> None:
    cleaned = load(tmp_path, TWICE, duplicates=duplicates)
    assert [row[:3] for row in sorted(tables.rows(cleaned.table))] == [
        (1, 7, rating),
        (1, 8, 2.0),
        (2, 7, 3.0),
    ]
    assert cleaned.dropped == {"duplicates": 1}
    assert (
        f"of each the {duplicates} is taken, 1 rows are left out"
        in tables.find(cleaned.checks, ONCE).detail
    )


@pytest.mark.parametrize(("duplicates", "rating"), [("last", 5.0), ("first", 4.0), ("mean", 4.5)])
def test_without_times_the_place_in_the_file_decides(
    tmp_path: Path, duplicates: str, rating: float
) -> None:
    path = tables.put(tmp_path, "user_id,item_id,rating\n1,7,4\n2,7,3\n1,7,5\n")
    cleaned = tables.load(path, duplicates=duplicates)
    assert (1, 7, rating, None) in tables.rows(cleaned.table)


@pytest.mark.parametrize(("duplicates", "rating"), [("last", 5.0), ("first", 4.0)])
def test_of_rows_without_a_time_the_place_decides(
    tmp_path: Path, duplicates: str, rating: float
) -> None:
    """A row without time is neither before nor after one that has it."""
    for rows in ("1,7,4,50\n1,7,5,\n", "1,7,4,\n1,7,5,50\n"):
        cleaned = load(tmp_path, rows + "2,7,3,1\n", duplicates=duplicates)
        assert [row[:3] for row in tables.rows(cleaned.table)] == [(1, 7, rating), (2, 7, 3.0)]


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_settled_as_pandas_does(tmp_path: Path, seed: int, timed: bool) -> None:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "user_id": random.integers(0, 30, 2_000),
            "item_id": random.integers(0, 30, 2_000),
            "rating": random.integers(1, 11, 2_000) / 2,
            "timestamp": random.permutation(2_000) + 900_000_000,
        }
    )
    frame = frame if timed else frame.drop(columns="timestamp")
    path = tables.put(tmp_path, frame.to_csv(index=False))
    pairs = frame.drop_duplicates().sort_values("timestamp") if timed else frame.drop_duplicates()
    for choice in ("last", "first", "mean"):
        table = tables.load(path, duplicates=choice).table
        found = {(user, item): rating for user, item, rating, _ in tables.rows(table)}
        grouped = pairs.groupby(["user_id", "item_id"])["rating"].agg(choice)
        assert found == pytest.approx(grouped.to_dict(), rel=1e-6)
        assert len(found) == table.n_ratings
        assert (np.diff(table.places) > 0).all()


def test_the_first_ten_pairs_are_named(tmp_path: Path) -> None:
    twice = "".join(f"{user},1,4,5\n{user},1,5,6\n" for user in range(50, 38, -1))
    detail = tables.find(load(tmp_path, twice).checks, ONCE).detail
    assert detail.startswith(
        "12 pairs are rated more than once: (50, 1) in line 2, line 3; (49, 1) in line 4, line 5; "
    )
    assert "(41, 1) in line 20, line 21; …; correct them" in detail


def test_rows_after_those_that_were_dropped_keep_the_line_of_the_file(tmp_path: Path) -> None:
    rows = "1,2,99,1\n1,2,4,1\n1,2,4,1\n,,,\n3,,4,1\n" + MANY
    table = load(tmp_path, rows, missing=(99,), bad_rows="drop").table
    assert (table.name_row(0), table.name_row(1)) == ("line 3", "line 7")
    assert table.n_ratings == 601


def test_contradicting_ratings_are_refused_with_their_lines_and_the_way_out(tmp_path: Path) -> None:
    check = tables.find(load(tmp_path, TWICE).checks, ONCE)
    assert check.severity == "error"
    assert check.detail == (
        "1 pairs are rated more than once: (1, 7) in line 2, line 4; correct them, or set duplicates to "
        '"last", "first" or "mean"'
    )


@pytest.mark.parametrize("duplicates", ["refuse", "mean", "last"])
def test_exact_copies_are_left_out_with_a_warning(tmp_path: Path, duplicates: str) -> None:
    cleaned = load(tmp_path, "1,7,4,5\n2,7,4,5\n1,7,4,5\n1,7,4,5\n", duplicates=duplicates)
    assert tables.rows(cleaned.table) == [(1, 7, 4.0, 5), (2, 7, 4.0, 5)]
    [warning] = find_failed(cleaned)
    assert warning.severity == "warning"
    assert warning.detail == "2 rows (line 4, line 5) repeat another row exactly, and are left out"


BAD = MANY + "1,2,x,1\n3,,4,1\n5,6,,1\n7,8\n"


def test_bad_rows_are_refused_with_their_lines(tmp_path: Path) -> None:
    cleaned = load(tmp_path, BAD)
    assert tables.find(cleaned.checks, READABLE).detail == (
        "2 of 604 rows cannot: line 605: 2 columns; expected 4; line 602: rating 'x'; expected a number; "
        'correct them, or set bad_rows to "drop"'
    )


def test_bad_rows_are_dropped_if_so_chosen_and_the_others_keep_their_lines(tmp_path: Path) -> None:
    cleaned = load(tmp_path, BAD + "50,51,3,1\n", bad_rows="drop")
    assert cleaned.table.n_ratings == 601
    assert cleaned.dropped == {"bad": 4}
    assert cleaned.table.name_row(600) == "line 606"
    [warning] = find_failed(cleaned)
    assert warning.severity == "warning"
    assert "line 603: no item" in warning.detail
    assert "line 604: no rating" in warning.detail


def test_more_bad_rows_than_the_bound_are_refused(tmp_path: Path) -> None:
    cleaned = load(tmp_path, "1,2,x,1\n" * 2 + MANY, bad_rows="drop", bad_rows_share=0.001)
    check = tables.find(cleaned.checks, READABLE)
    assert check.severity == "error"
    assert "2 of 602 rows, 0.3%, are more than the 0.1% that bad_rows_share allows" in check.detail


def test_empty_rows_below_a_table_are_left_out(tmp_path: Path) -> None:
    cleaned = load(tmp_path, MANY + ",,,\n" * 12)
    assert cleaned.table.n_ratings == 600
    assert cleaned.dropped == {"empty": 12}
    assert tables.find(cleaned.checks, "no row is empty").detail.startswith(
        "12 rows (line 602, line 603"
    )


def test_codes_for_no_rating_are_left_out(tmp_path: Path) -> None:
    cleaned = load(tmp_path, MANY + "1,2,99,1\n1,3,-1,1\n", missing=(99, -1))
    assert cleaned.table.n_ratings == 600
    assert cleaned.dropped == {"missing": 2}
    assert 1 not in cleaned.table.users.known
    assert tables.find(load(tmp_path, MANY, missing=(99,)).checks, "codes for no rating")


def test_ratings_off_the_scale_are_bad_rows(tmp_path: Path) -> None:
    cleaned = load(tmp_path, MANY + "1,2,99,1\n", scale=(1, 5), bad_rows="drop")
    assert cleaned.dropped == {"bad": 1}
    assert float(cleaned.table.ratings.max()) == 4
