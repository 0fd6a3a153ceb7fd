from __future__ import annotations

import numpy as np
import pytest

from mftasks.data.arrays import Part
from mftasks.scoring import baselines
from mftasks.scoring.errors import pool_rmse


def draw(spread_of_items: float = 0.5, noise: float = 0.1, n_items: int = 50) -> tuple[Part, Part]:
    """Return ratings that are a mean, two biases and noise, in two parts."""
    random = np.random.default_rng(1)
    user_biases = random.normal(0, 0.5, 80)
    item_biases = random.normal(0, spread_of_items, n_items)
    users, items = (side.ravel().astype(np.int32) for side in np.mgrid[:80, :n_items])
    given = 3 + user_biases[users] + item_biases[items] + random.normal(0, noise, len(users))
    test = random.random(len(users)) < 0.2
    whole = (users, items, given.astype(np.float32))
    return Part(*(side[~test] for side in whole)), Part(*(side[test] for side in whole))


def test_biases_explain_what_users_and_items_add() -> None:
    train, test = draw()
    biases = baselines.fit_biases(train, None, 80, 50)
    assert biases.mean == pytest.approx(train.ratings.mean())
    assert test.ratings.std() > 0.6
    assert pool_rmse(biases.predict(test.users, test.items), test.ratings) < 0.2


def test_users_and_items_without_a_rating_have_no_bias() -> None:
    train, _ = draw()
    biases = baselines.fit_biases(train, None, 81, 52)
    assert (biases.users[80], *biases.items[50:]) == (0, 0, 0)


def test_a_single_rating_makes_but_a_small_bias() -> None:
    train = Part(
        *(np.array(side, np.int32) for side in ([0, 1, 1], [0, 1, 1])), np.float32([5, 3, 3])
    )
    biases = baselines.fit_biases(train, None, 2, 2)
    (predicted,) = biases.predict(train.users[:1], train.items[:1])
    assert train.ratings.mean() < predicted < train.ratings.mean() + 0.5


@pytest.mark.parametrize("rest", [(0.5, 0.1), (0.0, 1.0), (0.05, 1.0)])
def test_damping_is_chosen_on_the_validation_part_and_near_the_best_there_is(
    rest: tuple[float, float],
) -> None:
    train, valid = draw(*rest)
    chosen = score(train, valid, baselines.fit_biases(train, valid, 80, 50))
    fitting = baselines._Fitting(train, 80, 50)
    grid = [2.0**power for power in range(-3, 10)]
    every = [score(train, valid, fitting.fit((one, other))) for one in grid for other in grid]
    usual = score(train, valid, baselines.fit_biases(train, None, 80, 50))
    assert chosen <= usual + 1e-9
    assert chosen < min(every) + 0.1 * (max(every) - min(every)) * 0.1 + 1e-4


def score(train: Part, valid: Part, biases: baselines.Biases) -> float:
    return pool_rmse(biases.predict(valid.users, valid.items), valid.ratings)
