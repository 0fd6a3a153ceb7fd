"""The scale of the user's own ratings is judged by the distribution; honest data are never refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mftasks.data import checks
from mftasks.data.catalog import Counts
from mftasks.data.checks import Expected
from mftasks.data.table import EncodedIds, RatingsTable
from mftasks.records import Check

OWN = Expected(None, Counts(), needs_timestamps=False)
Random = np.random.Generator
STARS = (0.06, 0.11, 0.27, 0.34, 0.22)


def make_table(ratings: Any, users: Any = None) -> RatingsTable:
    """Return ratings in the lines of a CSV file, seven to a user if users are not given."""
    ratings = np.asarray(ratings, np.float32)
    users = np.arange(len(ratings)) // 7 if users is None else np.asarray(users)
    known, codes = np.unique(users, return_inverse=True)
    items = np.arange(len(ratings)) % 97
    return RatingsTable(
        EncodedIds(codes.astype(np.int32), known),
        EncodedIds(items.astype(np.int32), np.arange(97)),
        ratings,
        None,
        name_place=lambda place: f"line {place + 2}",
    )


def find_errors(table: RatingsTable, expected: Expected = OWN) -> list[Check]:
    found = checks.check(table, expected)
    return [one for one in found if not one.passed and one.severity == "error"]


def find_warnings(table: RatingsTable, expected: Expected = OWN) -> list[str]:
    found = checks.check(table, expected)
    return [one.name for one in found if not one.passed and one.severity == "warning"]


def give_stars(random: Random, n: int) -> Any:
    return random.choice([1, 2, 3, 4, 5], n, p=STARS)


def give_counts(random: Random, n: int, sigma: float) -> Any:
    return np.ceil(random.lognormal(4, sigma, n)).clip(1, 352_698)


HONEST: dict[str, Callable[[Random, int], Any]] = {
    "five stars": give_stars,
    "half stars": lambda random, n: random.binomial(9, 0.7, n) / 2 + 0.5,
    "half stars, mostly high": lambda random, n: random.binomial(9, 0.93, n) / 2 + 0.5,
    "1 to 10": lambda random, n: random.binomial(9, 0.65, n) + 1,
    "1 to 10, mostly high": lambda random, n: random.binomial(9, 0.95, n) + 1,
    "1 to 10, mostly low": lambda random, n: random.binomial(9, 0.05, n) + 1,
    "0 to 10": lambda random, n: random.binomial(10, 0.5, n),
    "0 to 10, evenly": lambda random, n: random.integers(0, 11, n),
    "percent": lambda random, n: np.rint(100 * random.beta(4, 2, n)),
    "percent in tens": lambda random, n: 10 * random.binomial(10, 0.7, n),
    "percent, mostly low": lambda random, n: np.rint(100 * random.beta(1, 4, n)),
    "Jester": lambda random, n: np.round(random.uniform(-10, 10, n), 2),
    "Jester, bell-shaped": lambda random, n: np.round(random.normal(1, 4, n).clip(-10, 10), 2),
    "plays": lambda random, n: give_counts(random, n, 1.5),
    "plays, few": lambda random, n: give_counts(random, n, 0.8),
    "plays, geometric": lambda random, n: random.geometric(0.4, n),
    "plays, Zipf": lambda random, n: random.zipf(1.8, n).clip(1, 352_698),
    "hours": lambda random, n: np.round(random.lognormal(1.5, 2, n), 1).clip(0.1, 11_754),
    "seconds": lambda random, n: random.exponential(100, n),
    "0 to 2": lambda random, n: random.choice([0, 1, 2], n, p=[0.2, 0.4, 0.4]),
    "0 to 2, mostly zeros": lambda random, n: random.choice([0, 1, 2], n, p=[0.6, 0.3, 0.1]),
    "0 and 1": lambda random, n: random.integers(0, 2, n),
    "1 and 5": lambda random, n: random.choice([1, 5], n),
    "-1, 0 and 1": lambda random, n: random.integers(-1, 2, n),
    "-2 to 2": lambda random, n: random.integers(-2, 3, n),
    "shares": lambda random, n: random.beta(2, 2, n),
    "means of stars": lambda random, n: np.round(random.integers(1, 6, (n, 3)).mean(axis=1), 2),
    "7.000000": lambda random, n: np.array(
        [f"{one:.6f}" for one in give_stars(random, n) + 2], float
    ),
    "1, 2, 4 and 10": lambda random, n: random.choice([1, 2, 4, 10], n),
    "scores of Fibonacci": lambda random, n: random.choice([1, 2, 3, 5, 8, 13], n),
}


@pytest.mark.parametrize("n", [20, 60, 200, 1_000, 20_000])
@pytest.mark.parametrize("shape", HONEST)
def test_honest_ratings_are_not_refused(shape: str, n: int):
    for seed in range(40 if n <= 200 else 5):
        ratings = HONEST[shape](np.random.default_rng(seed), n)
        assert find_errors(make_table(ratings)) == [], f"seed {seed}"


@pytest.mark.parametrize("scale", [(0.5, 5, 0.5), (1, 10, 1), (0, 100, 1), (1, 7, 1), (0, 10, 0.5)])
def test_a_scale_whose_ends_are_rare_is_not_refused(scale: tuple[float, float, float]):
    low, high, step = scale
    random = np.random.default_rng(0)
    middle = np.rint(random.normal((low + high) / 2, (high - low) / 12, 5_000) / step) * step
    for ends in ([low], [high], [low, high]):
        ratings = [*middle.clip(low, high), *np.arange(low, high + step, step), *ends]
        assert find_errors(make_table(ratings)) == []


CODES: list[tuple[str, Callable[[Random, int], Any], list[float], str]] = [
    ("two 99s among stars", give_stars, [99] * 2, "[99]"),
    ("many 99s among stars", give_stars, [99] * 400, "[99]"),
    ("99 in Jester", HONEST["Jester"], [99] * 300, "[99]"),
    ("99 in Jester, bell-shaped", HONEST["Jester, bell-shaped"], [99] * 2, "[99]"),
    ("-1 for watched", HONEST["1 to 10"], [-1] * 150, "[-1]"),
    ("one -1", HONEST["1 to 10"], [-1], "[-1]"),
    ("-1 below zero", HONEST["0 to 10"], [-1] * 5, "[-1]"),
    ("9 among stars", give_stars, [9] * 8, "[9]"),
    ("one 1e9", give_stars, [1e9], "[1e+09]"),
    ("one line of totals", give_stars, [2400], "[2400]"),
    ("-99 among half stars", HONEST["half stars"], [-99] * 3, "[-99]"),
    ("999 among percent", HONEST["percent"], [999] * 3, "[999]"),
    ("two codes", give_stars, [98, 98, 99], "[98, 99]"),
    ("one number that is no float of six digits", give_stars, [880756864], "[8.8075686e+08]"),
    ("a code beside 0 and 1", HONEST["0 and 1"], [99], "[99]"),
    ("-1 in hours", HONEST["hours"], [-1] * 4, "[-1]"),
]


@pytest.mark.parametrize(("what", "shape", "odd", "missing"), CODES, ids=[one[0] for one in CODES])
@pytest.mark.parametrize("n", [100, 800, 5_000])
def test_a_value_apart_from_the_others_is_refused_with_what_settles_it(
    what: str, shape: Callable[[Random, int], Any], odd: list[float], missing: str, n: int
):
    for seed in range(5):
        honest = shape(np.random.default_rng(seed), n)
        [error] = find_errors(make_table([*honest, *odd]))
        assert error.name == "ratings lie near each other"
        assert f" {len(odd):,} of {n + len(odd):,} ratings (line {n + 2}" in error.detail
        assert f"set missing to {missing};" in error.detail
        settled = OWN._replace(bounds=(min(*honest, *odd), max(*honest, *odd)))
        assert find_errors(make_table([*honest, *odd]), settled) == []


def test_the_refusal_names_value_count_lines_and_every_way_out():
    [error] = find_errors(make_table([*[1, 2, 3, 4, 5] * 160, 99, 99]))
    assert error.detail == (
        "99 is 2 of 802 ratings (line 802, line 803), and the others are 1 to 5; if that means that "
        "there is no rating, set missing to [99]; if it is meant, set scale to [1, 99]; if it is a "
        'mistake, set scale to [1, 5] and bad_rows to "drop"'
    )


def test_codes_on_both_sides_are_refused_at_once():
    errors = find_errors(make_table([*[1, 2, 3, 4, 5] * 160, 99, -1]))
    assert [error.detail.partition(" is ")[0] for error in errors] == ["99", "-1"]


@pytest.mark.parametrize("low", [1, 0.5])
def test_zeros_that_are_most_of_the_ratings_are_refused(low: float):
    """Book-Crossing writes 0 for a book that was read and not rated."""
    random = np.random.default_rng(0)
    rated = random.choice(np.arange(low, 10 + low, low), 380)
    [error] = find_errors(make_table([*rated, *[0] * 620]))
    assert error.name == "zeros are ratings"
    assert error.detail.startswith("0 is 620 of 1,000 ratings")
    assert "set missing to [0]; if it is one, set scale to [0, " in error.detail


def test_few_zeros_below_a_scale_are_a_warning():
    ratings = [*give_stars(np.random.default_rng(0), 36_000), *[0] * 34]
    assert find_errors(make_table(ratings)) == []
    assert find_warnings(make_table(ratings)) == ["zeros are ratings"]


UPPER = {
    "20 to 100": [20, 40, 60, 80, 100],
    "tens": list(range(10, 101, 10)),
    "all": range(20, 101),
}


@pytest.mark.parametrize("upper", UPPER)
def test_users_on_two_scales_are_refused(upper: str):
    random = np.random.default_rng(0)
    users = np.arange(2_000) % 100
    ratings = np.where(users < 50, random.integers(1, 6, 2_000), random.choice(UPPER[upper], 2_000))
    [error] = find_errors(make_table(ratings, users))
    assert error.name == "ratings are on one scale"
    assert error.detail.startswith("50 users rate 1 to 5 only, and 50 rate ")


def test_users_who_use_both_sides_of_a_gap_are_on_one_scale():
    random = np.random.default_rng(0)
    ratings = random.choice([1, 2, 3, 20, 30, 40], 2_000)
    assert find_errors(make_table(ratings, np.arange(2_000) % 100)) == []


def test_whole_numbers_that_single_precision_folds_are_a_warning_although_a_scale_is_given():
    ratings = [100_000_001, 100_000_002, 100_000_003, 100_000_004] * 5
    settled = OWN._replace(bounds=(0, 2e8))
    assert find_errors(make_table(ratings), settled) != []  # 1 to 4 more are one number
    assert "ratings fit single precision" in find_warnings(make_table(ratings), settled)
    assert [one.name for one in find_errors(make_table(ratings))][-1] == "rating is plausible"


def test_plays_have_a_long_tail_which_is_a_warning_at_most():
    ratings = [*give_counts(np.random.default_rng(0), 90_000, 1.5), 352_698]
    assert find_errors(make_table(ratings)) == []
    assert find_warnings(make_table(ratings)) == ["rating is near the others"]
