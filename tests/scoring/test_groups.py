from __future__ import annotations

import numpy as np
import pytest

from mftasks.scoring import groups

RATINGS = np.array([1, 1, 3, 5], np.float32)
SQUARED = np.array([4.0, 0.0, 1.0, 9.0])


def test_each_value_of_the_scale_is_a_group() -> None:
    found = groups.score_by_rating(RATINGS, SQUARED)
    assert [(one.label, one.n_ratings) for one in found] == [("1", 2), ("3", 1), ("5", 1)]
    assert [one.rmse for one in found] == pytest.approx([2**0.5, 1, 3])


def test_half_stars_keep_their_names() -> None:
    ratings = np.arange(1, 11, dtype=np.float32) / 2
    assert [one.label for one in groups.score_by_rating(ratings, ratings)][:3] == [
        "0.5",
        "1",
        "1.5",
    ]


def test_a_continuous_scale_is_cut_into_ranges() -> None:
    ratings = np.linspace(0, 100, 5000, dtype=np.float32)
    found = groups.score_by_rating(ratings, np.ones(5000))
    assert len(found) == groups.MOST_VALUES
    assert sum(one.n_ratings for one in found) == 5000


def test_users_are_grouped_by_the_quartiles_of_all_users() -> None:
    counts = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.int32)
    users = np.arange(8, dtype=np.int32)
    found = groups.score_by_activity(users, counts, np.ones(8))
    assert [one.label for one in found] == ["1 – 2", "3 – 4", "5 – 6", "7 – 8"]
    assert [one.n_ratings for one in found] == [2, 2, 2, 2]


def test_ratings_of_unseen_users_are_a_group_of_their_own() -> None:
    found = groups.score_by_activity(
        np.array([-1, 0], np.int32), np.array([3], np.int32), SQUARED[:2]
    )
    assert [(one.label, one.rmse) for one in found] == [("unseen", 2.0), ("3", 0.0)]


def test_many_unseen_users_are_one_group() -> None:
    users = np.array([-1, -2, -300, 0], np.int32)
    found = groups.score_by_activity(users, np.array([3], np.int32), SQUARED)
    assert [(one.label, one.n_ratings) for one in found] == [("unseen", 3), ("3", 1)]


def test_known_pairs_and_new_ones_are_apart() -> None:
    users, items = np.array([0, -1, 0, -7], np.int32), np.array([0, 1, -4, -2], np.int32)
    found = groups.score_by_novelty(users, items, SQUARED)
    assert [(one.label, one.n_ratings, one.rmse) for one in found] == [
        *(("known", 1, 2.0), ("new user", 1, 0.0), ("new item", 1, 1.0), ("both new", 1, 3.0))
    ]


def test_users_who_are_all_alike_are_one_group() -> None:
    found = groups.score_by_activity(
        np.arange(4, dtype=np.int32), np.full(4, 20, np.int32), SQUARED
    )
    assert [(one.label, one.n_ratings) for one in found] == [("20", 4)]


def test_residuals_are_counted_over_the_width_of_the_scale() -> None:
    found = groups.count_residuals(np.array([-4, -0.1, 0.1, 4.0]), 4.0)
    assert (found.edges[0], found.edges[-1], sum(found.counts)) == (-4, 4, 4)
    assert found.counts[15:17] == (1, 1)
