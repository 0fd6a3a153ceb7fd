from __future__ import annotations

import numpy as np
import pytest

from mftasks import factors, training
from mftasks.data.arrays import Part
from mftasks.factors import folding
from mftasks.networks import Sizes
from mftasks.scoring.errors import pool_rmse
from tests.training.fits import config

N_USERS, N_ITEMS, N_NEW = 400, 60, 40


def draw_ratings() -> Part:
    random = np.random.default_rng(7)
    users, items = (side.ravel().astype(np.int32) for side in np.mgrid[:N_USERS, :N_ITEMS])
    sides = random.normal(size=(N_USERS, 3)), random.normal(size=(N_ITEMS, 3))
    given = 3 + random.normal(0, 0.4, N_USERS)[users] + random.normal(0, 0.4, N_ITEMS)[items]
    given += 0.5 * (sides[0][users] * sides[1][items]).sum(axis=1)
    given += random.normal(0, 0.3, len(users))
    chosen = random.random(len(users)) < 0.5
    return Part(users[chosen], items[chosen], given[chosen].astype(np.float32))


def fit(train: Part) -> factors.Factors:
    asked = config(
        epochs=30, batch_size=100, learning_rate=0.01, l2=0.05, params={"factors": 3}, keep="last"
    )
    data = training.Data(train, None, Sizes(N_USERS, N_ITEMS, 0.0), -9.0, 9.0)
    trained = training.fit(asked, data)
    return factors.convert(trained.block.factors(), trained.unit, 1.0, data.biases)


def test_a_user_who_is_folded_in_is_predicted_as_if_training_had_seen_him() -> None:
    ratings = draw_ratings()
    is_new = ratings.users >= N_USERS - N_NEW
    held = is_new & (np.random.default_rng(8).random(len(is_new)) < 0.3)
    old, known, test = (
        Part(*(array[rows] for array in ratings)) for rows in (~is_new, ~held, held)
    )
    without, trained_with = fit(old), fit(known)
    known_users = factors.Factors(
        *(
            array[: N_USERS - N_NEW] if name.startswith("user") else array
            for name, array in without._asdict().items()
        )
    )
    prior = folding.measure_prior(known_users, noise=0.3**2)
    predicted = np.empty_like(test.ratings)
    for user in range(N_USERS - N_NEW, N_USERS):
        given, asked = known.users == user, test.users == user
        new = folding.fold_in(known_users, prior, known.items[given], known.ratings[given])
        predicted[asked] = known_users.predict_row(*new)[test.items[asked]]
    folded = pool_rmse(predicted, test.ratings)
    retrained = pool_rmse(trained_with.predict(test.users, test.items), test.ratings)
    by_items = pool_rmse(known_users.mu + known_users.item_bias[test.items], test.ratings)
    assert folded < 1.05 * retrained
    assert folded < 0.6 * by_items


def test_without_a_rating_he_is_what_users_are_on_average() -> None:
    given = fit(draw_ratings())
    prior = folding.measure_prior(given, noise=0.1)
    new = folding.fold_in(given, prior, np.empty(0, np.int32), np.empty(0, np.float32))
    assert new.bias == pytest.approx(float(given.user_bias.mean()), abs=1e-5)
    assert new.vector == pytest.approx(given.user_vectors.mean(axis=0), abs=1e-5)


def test_vectors_of_dependent_columns_have_a_prior() -> None:
    given = fit(draw_ratings())
    doubled = given._replace(
        user_vectors=np.tile(given.user_vectors, 2), item_vectors=np.tile(given.item_vectors, 2) / 2
    )
    for each in (doubled, doubled._replace(user_vectors=doubled.user_vectors * 0)):
        prior = folding.measure_prior(each, noise=0.1)
        new = folding.fold_in(each, prior, np.arange(9), np.ones(9, np.float32))
        assert np.isfinite([new.bias, *new.vector]).all()
