from __future__ import annotations

import numpy as np
import pytest

from mftasks.scoring.intervals import interval, resampled


def simulated(n_users: int, per_user: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return users and squared errors whose level differs by user."""
    random = np.random.default_rng(seed)
    users = np.repeat(np.arange(n_users, dtype=np.int32), per_user)
    return users, random.gamma(4, 0.25, n_users)[users] * random.exponential(1, len(users))


def test_the_first_row_is_the_sample() -> None:
    users, squared = simulated(50, 8, 1)
    drawn = resampled(users, squared, seed=1)
    assert drawn.shape == (1001, 2)
    assert drawn[0] == pytest.approx([400, squared.sum()])


def test_the_same_seed_gives_the_same_interval() -> None:
    users, squared = simulated(50, 8, 1)
    one, two, other = (resampled(users, squared, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_intervals_cover_the_truth_about_nineteen_times_in_twenty() -> None:
    covered = 0
    for seed in range(200):
        n, total = resampled(*simulated(150, 20, seed), seed=seed).T
        found = interval(total / n)
        covered += found.low <= 1.0 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_interval_of_a_difference_is_narrower_than_its_parts() -> None:
    users, squared = simulated(150, 20, 3)
    better = squared * 0.9
    n, worse, less = resampled(users, squared, better, seed=3).T
    parts, gain = interval(worse / n), interval((worse - less) / n)
    assert gain.high - gain.low < 0.2 * (parts.high - parts.low)
    assert gain.low > 0


def test_ratings_of_an_unseen_user_go_together_as_those_of_a_known_one() -> None:
    users, squared = simulated(150, 20, 4)
    n, total = resampled(users, squared, seed=4).T
    known = interval(total / n)
    n, total = resampled(-1 - users, squared, seed=4).T
    unseen = interval(total / n)
    assert known is not None
    assert unseen is not None
    assert unseen.value == pytest.approx(known.value)
    assert unseen.high - unseen.low == pytest.approx(known.high - known.low, rel=0.1)


def test_unseen_and_known_users_are_not_mixed_up() -> None:
    users, squared = simulated(150, 20, 4)
    assert np.array_equal(resampled(users - 75, squared, seed=4), resampled(users, squared, seed=4))


def test_too_few_users_have_no_interval() -> None:
    users, squared = simulated(29, 8, 1)
    n, total = resampled(users, squared, seed=1).T
    assert interval(total / n, n_users=29) is None
    assert interval(total / n, n_users=30) is not None


def test_one_user_alone_gives_an_interval_of_no_width() -> None:
    n, total = resampled(np.zeros(3, np.int32), np.array([1.0, 2.0, 3.0]), seed=5).T
    found = interval(total / n)
    assert (found.low, found.value, found.high) == (2, 2, 2)
