from __future__ import annotations

import time

import numpy as np
import pytest

from mftasks.data import checks
from mftasks.data.catalog import WHOLE_STARS, Counts
from mftasks.data.checks import Expected
from mftasks.data.table import MISSING, EncodedIds, RatingsTable
from mftasks.records import Check

PUBLISHED = Expected(WHOLE_STARS, Counts(), needs_timestamps=False)
OWN = Expected(None, Counts(), needs_timestamps=False)


def encode(values: list[int] | list[str]) -> EncodedIds:
    known, codes = np.unique(np.array(values), return_inverse=True)
    return EncodedIds(codes.astype(np.int32), known)


def make_table(
    users: list[int] | list[str] | None = None,
    items: list[int] | list[str] | None = None,
    ratings: list[float] | None = None,
    timestamps: list[int] | None = None,
) -> RatingsTable:
    """Return four ratings that keep every rule, but for the columns that are given."""
    return RatingsTable(
        encode(users or [1, 1, 2, 2]),
        encode(items or [1, 2, 1, 2]),
        np.array(ratings or [1, 5, 3, 4], np.float32),
        np.array(timestamps or [874965758] * 4),
    )


def find_failed(of: RatingsTable, expected: Expected = PUBLISHED) -> list[Check]:
    return [check for check in checks.check(of, expected) if not check.passed]


@pytest.mark.parametrize("expected", [PUBLISHED, OWN])
def test_sound_ratings_keep_every_rule(expected: Expected):
    assert find_failed(make_table(), expected) == []
    assert len(checks.check(make_table(), expected)) >= 11


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("of", "name", "detail"),
    [
        (
            make_table(ratings=[1, NAN, 3, NAN]),
            "rating is there",
            "2 of 4: nothing in row 2, nothing in row 4; expected a number",
        ),
        (
            make_table(ratings=[1, 2, INF, 3]),
            "rating is finite",
            "1 of 4: inf in row 3; expected a finite number",
        ),
        (
            make_table(ratings=[0, 6, 3, 4]),
            "rating is in range",
            "2 of 4: 0 in row 1, 6 in row 2; expected 1 to 5",
        ),
        (
            make_table(ratings=[1, 2.5, 3, 4]),
            "rating is on the scale",
            "1 of 4: 2.5 in row 2; expected steps of 1 from 1",
        ),
        (
            make_table(users=[1, MISSING, 2, 2]),
            "user_id is there",
            "1 of 4: nothing in row 2; expected an id",
        ),
        (
            make_table(items=["a", "", "a", "b"]),
            "item_id is there",
            "1 of 4: nothing in row 2; expected an id",
        ),
        (
            make_table(timestamps=[874965758, MISSING, 874965758, 874965758]),
            "timestamp is there",
            "1 of 4: nothing in row 2; expected a moment",
        ),
        (
            make_table(timestamps=[874965758, 5, 874965758, 874965758000]),
            "timestamp is plausible",
            "2 of 4: 5 in row 2, 874965758000 in row 4; "
            "expected seconds since 1970, from 1995 to tomorrow",
        ),
        (
            make_table(users=[1, 1, 1, 1], items=[1, 2, 3, 4]),
            "there are users to tell apart",
            "1 users; at least 2 are needed",
        ),
        (
            make_table(ratings=[3, 3, 3, 3]),
            "ratings differ",
            "there are not two different ones",
        ),
    ],
)
def test_a_broken_rule_is_an_error_with_the_values_that_break_it(
    of: RatingsTable, name: str, detail: str
):
    assert find_failed(of) == [Check(name=name, severity="error", passed=False, detail=detail)]


def test_every_broken_rule_is_found_at_once():
    of = make_table([1, MISSING, -7, 1], ["", "b", "a", ""], [1.5, NAN, 9, INF], [1, 1, 1, MISSING])
    assert [check.name for check in find_failed(of)] == [
        "rating is there",
        "rating is finite",
        "rating is in range",
        "rating is on the scale",
        "user_id is there",
        "item_id is there",
        "timestamp is there",
        "timestamp is plausible",
    ]


def test_only_the_first_values_of_many_are_shown():
    of = make_table(list(range(1000)), [1, 2] * 500, [9] + [8.0] * 999, [874965758] * 1000)
    assert find_failed(of)[0].detail == (
        "1,000 of 1,000: 9 in row 1, 8 in row 2, 8 in row 3, …; expected 1 to 5"
    )


def test_counts_are_compared_with_the_published_ones():
    expected = Expected(WHOLE_STARS, Counts(ratings=4, users=3), needs_timestamps=False)
    assert [(check.name, check.detail) for check in find_failed(make_table(), expected)] == [
        ("number of users is as published", "2 users, published are 3")
    ]


def test_odd_moments_of_the_users_own_data_are_errors_only_if_the_split_needs_them():
    of = make_table(timestamps=[5, 874965758, 874965758, 874965758])
    assert [check.severity for check in find_failed(of, OWN)] == ["warning"]
    needed = OWN._replace(needs_timestamps=True)
    assert [check.severity for check in find_failed(of, needed)] == ["error"]
    (absent,) = find_failed(of._replace(timestamps=None), needed)
    assert (absent.severity, absent.name) == ("error", "timestamp is there")
    assert find_failed(of._replace(timestamps=None), OWN) == []


def test_too_few_ratings_to_judge_are_a_warning():
    found = find_failed(make_table(ratings=[-1, 2, 3, 4]), OWN)
    assert [(check.name, check.severity) for check in found] == [
        ("ratings lie near each other", "warning")
    ]


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (make_table(ratings=[1, NAN, 3, 4]), "rating is there"),
        (make_table(ratings=[1, INF, 3, 4]), "rating is finite"),
        (make_table(users=["a", "", "a", "b"]), "user_id is there"),
    ],
)
def test_of_own_data_the_way_out_is_named(of: RatingsTable, name: str):
    [found] = find_failed(of, OWN)
    assert found.name == name
    assert found.detail.endswith('; correct them, or set bad_rows to "drop"')


def test_half_stars_are_on_their_scale():
    half = PUBLISHED._replace(scale=WHOLE_STARS._replace(low=0.5, step=0.5))
    assert find_failed(make_table(ratings=[0.5, 4.5, 3, 5]), half) == []
    assert [check.name for check in find_failed(make_table(ratings=[0.6, 4.5, 3, 5]), half)] == [
        "rating is on the scale"
    ]


def test_a_rating_of_today_is_plausible_and_one_of_next_week_is_not():
    now = int(time.time())
    assert checks.plausible(np.array([now, now + 7 * 86400])).tolist() == [True, False]


STARS = [1, 2, 3, 4, 5] * 20


def make_ratings_with(odd: float) -> RatingsTable:
    """Return a hundred ratings of one to five stars, and an odd one in line 102 of a CSV file."""
    n = len(STARS) + 1
    of = make_table(list(range(n)), [1, 2] * (n // 2) + [1], [*STARS, odd], [874965758] * n)
    return of._replace(name_place=lambda place: f"line {place + 2}")


@pytest.mark.parametrize(
    ("odd", "shown"),
    [(-9223372036854775808, "-9.223372e+18"), (1e20, "1e+20"), (880756864, "8.8075686e+08")],
)
def test_an_absurd_rating_is_an_error_that_names_its_line_and_what_to_do(odd: float, shown: str):
    [found] = find_failed(make_ratings_with(odd), OWN)[:1]
    assert (found.name, found.severity) == ("ratings lie near each other", "error")
    assert found.detail.startswith(
        f"{shown} is 1 of 101 ratings (line 102), and the others are 1 to 5; "
    )
    assert f"set missing to [{shown}]" in found.detail
    assert np.float32(shown) == np.float32(odd)


@pytest.mark.parametrize("ratings", [[-1e7, 1e7, 3e7, 2e7], [5e6, 5e6 + 1, 5e6 + 1, 5e6 + 2]])
def test_a_rating_beyond_a_million_is_an_error_whatever_the_others_are(ratings: list[float]):
    failed = find_failed(make_table(ratings=ratings), OWN)
    [error] = [check for check in failed if check.severity == "error"]
    assert error.name == "rating is plausible"
    assert "; expected -1,000,000 to 1,000,000; correct these lines" in error.detail
    assert "set scale to the lowest and the highest" in error.detail


def test_five_stars_by_nearly_everybody_make_one_star_no_outlier():
    n = 100
    of = make_table(list(range(n)), [1, 2] * (n // 2), [1.0] + [5.0] * (n - 1), [874965758] * n)
    assert find_failed(of, OWN) == []


def test_ids_that_differ_by_a_blank_are_a_warning():
    of = make_table(users=["u1", "u1 ", "u2", "u2"])
    [found] = find_failed(of)
    assert (found.name, found.severity) == ("user_id is trimmed", "warning")
    assert found.detail.startswith("1 of 4: 'u1 ' in row 2; expected no blanks")


def test_a_value_of_a_million_letters_is_cut():
    long = "x" * 1_000_000
    for of in (make_table(users=[long, f"{long} ", "y", "z"]), make_table(users=[long] * 4)):
        found = find_failed(of)
        assert found
        assert all(len(check.detail) < 1000 for check in found)
