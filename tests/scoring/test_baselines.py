from __future__ import annotations

import numpy as np
import pytest

from mftasks.data.arrays import Part
from mftasks.scoring import baselines
from mftasks.scoring.errors import pool_rmse


@pytest.fixture
def parts() -> tuple[Part, Part]:
    """Give ratings that are a mean and two biases, and a little noise, in two parts."""
    random = np.random.default_rng(1)
    user_biases, item_biases = random.normal(0, 0.5, 80), random.normal(0, 0.5, 50)
    users, items = (side.ravel().astype(np.int32) for side in np.mgrid[:80, :50])
    ratings = 3 + user_biases[users] + item_biases[items] + random.normal(0, 0.1, 4000)
    test = random.random(4000) < 0.2
    whole = (users, items, ratings.astype(np.float32))
    return Part(*(side[~test] for side in whole)), Part(*(side[test] for side in whole))


def test_the_mean_is_that_of_the_train_part(parts: tuple[Part, Part]) -> None:
    train, test = parts
    assert np.unique(baselines.predict_mean(train, test)) == pytest.approx([train.ratings.mean()])


def test_biases_explain_what_users_and_items_add(parts: tuple[Part, Part]) -> None:
    train, test = parts
    assert pool_rmse(baselines.predict_mean(train, test), test.ratings) > 0.6
    assert pool_rmse(baselines.predict_biases(train, test), test.ratings) < 0.2


def test_unseen_users_and_items_have_no_bias(parts: tuple[Part, Part]) -> None:
    train, _ = parts
    unseen = Part(np.array([-1], np.int32), np.array([-1], np.int32), np.array([3], np.float32))
    assert baselines.predict_biases(train, unseen) == pytest.approx([train.ratings.mean()])


def test_a_single_rating_makes_but_a_small_bias() -> None:
    train = Part(
        *(np.array(side, np.int32) for side in ([0, 1, 1], [0, 1, 1])), np.float32([5, 3, 3])
    )
    (predicted,) = baselines.predict_biases(
        train, Part(train.users[:1], train.items[:1], train.ratings[:1])
    )
    assert train.ratings.mean() < predicted < train.ratings.mean() + 0.3
