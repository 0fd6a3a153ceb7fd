from __future__ import annotations

import numpy as np
import pytest

from mftasks.scoring.intervals import find_interval, resample


def simulate(n_users: int, per_user: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return users and squared errors whose level differs by user."""
    random = np.random.default_rng(seed)
    users = np.repeat(np.arange(n_users, dtype=np.int32), per_user)
    return users, random.gamma(4, 0.25, n_users)[users] * random.exponential(1, len(users))


def test_the_first_row_is_the_sample() -> None:
    users, squared = simulate(50, 8, 1)
    drawn = resample(users, squared, seed=1)
    assert drawn.shape == (1001, 2)
    assert drawn[0] == pytest.approx([400, squared.sum()])


def test_the_same_seed_gives_the_same_interval() -> None:
    users, squared = simulate(50, 8, 1)
    one, two, other = (resample(users, squared, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_intervals_cover_the_truth_about_nineteen_times_in_twenty() -> None:
    covered = 0
    for seed in range(200):
        n, total = resample(*simulate(150, 20, seed), seed=seed).T
        found = find_interval(total / n)
        covered += found.low <= 1.0 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_interval_of_a_difference_is_narrower_than_its_parts() -> None:
    users, squared = simulate(150, 20, 3)
    better = squared * 0.9
    n, worse, less = resample(users, squared, better, seed=3).T
    parts, gain = find_interval(worse / n), find_interval((worse - less) / n)
    assert gain.high - gain.low < 0.2 * (parts.high - parts.low)
    assert gain.low > 0


def test_ratings_of_an_unseen_user_go_together_as_those_of_a_known_one() -> None:
    users, squared = simulate(150, 20, 4)
    n, total = resample(users, squared, seed=4).T
    known = find_interval(total / n)
    n, total = resample(-1 - users, squared, seed=4).T
    unseen = find_interval(total / n)
    assert known is not None
    assert unseen is not None
    assert unseen.value == pytest.approx(known.value)
    assert unseen.high - unseen.low == pytest.approx(known.high - known.low, rel=0.1)


def test_unseen_and_known_users_are_not_mixed_up() -> None:
    users, squared = simulate(150, 20, 4)
    assert np.array_equal(resample(users - 75, squared, seed=4), resample(users, squared, seed=4))


def test_too_few_users_have_no_interval() -> None:
    users, squared = simulate(29, 8, 1)
    n, total = resample(users, squared, seed=1).T
    assert find_interval(total / n, n_users=29) is None
    assert find_interval(total / n, n_users=30) is not None


def test_one_user_alone_gives_an_interval_of_no_width() -> None:
    n, total = resample(np.zeros(3, np.int32), np.array([1.0, 2.0, 3.0]), seed=5).T
    found = find_interval(total / n)
    assert (found.low, found.value, found.high) == (2, 2, 2)
