from __future__ import annotations

import dataclasses
import math
from typing import Any

import msgspec
import numpy as np
import pytest

from mftasks import networks, training
from mftasks.data.arrays import Part
from mftasks.errors import TrainingDiverged
from mftasks.mx import mx, predict
from mftasks.records import TrainConfig
from mftasks.training import loop
from mftasks.training.state import State
from tests.training.fits import config, equal, states, weights_of


def test_another_seed_gives_other_weights(data: training.Data) -> None:
    one, other = (training.fit(config(seed=seed), data) for seed in (0, 1))
    assert not equal(weights_of(one), weights_of(other))


def test_each_epoch_has_a_shuffle_of_its_own(data: training.Data) -> None:
    asked = config(epochs=2, learning_rate=1e-30, batch_size=data.train.ratings.size)
    first, second = states(asked, data)
    assert first.history[0].train_rmse == pytest.approx(second.history[1].train_rmse, abs=1e-7)
    asked = config("resnet", epochs=2, learning_rate=1e-30)
    first, second = states(asked, data)
    assert first.history[0].train_rmse != second.history[1].train_rmse, "dropout is the same"


def test_every_rating_is_trained_on_whatever_the_batch_size(data: training.Data) -> None:
    n = data.train.ratings.size
    assert n % 64, "the last batch must be shorter"
    untouched = config(epochs=1, learning_rate=1e-30, batch_size=64)
    (state,) = states(untouched, data)
    assert state.history[0].train_rmse == pytest.approx(data.train.ratings.std(), abs=1e-3)
    assert state.n_updates == math.ceil(n / 64)
    for batch_size in (n, n - 1, 10 * n):
        (state,) = states(config(epochs=1, batch_size=batch_size), data)
        assert state.n_updates == (2 if batch_size == n - 1 else 1)


def test_a_short_last_batch_weighs_each_of_its_ratings_as_a_batch_of_its_own() -> None:
    ones = Part(np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, np.float32))
    alone = training.Data(ones, None, networks.Sizes(1, 1, 0.0), 1.0, 5.0)
    five = Part(*(np.repeat(array, 5) for array in ones))
    together = training.Data(five, None, networks.Sizes(1, 1, 0.0), 1.0, 5.0)
    sgd = {"optimizer": "sgd", "learning_rate": 0.1, "keep": "last"}
    three_updates = training.fit(config(epochs=3, batch_size=1, **sgd), alone)
    two_two_one = training.fit(config(epochs=1, batch_size=2, **sgd), together)
    for one, other in zip(weights_of(three_updates), weights_of(two_two_one), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_training_stops_when_validation_no_longer_improves_and_keeps_the_best(
    data: training.Data,
) -> None:
    asked = config(epochs=100, learning_rate=0.2, patience=3, params={"factors": 32})
    trained = training.fit(asked, data)
    scores = [metrics.valid_rmse for metrics in trained.history]
    assert trained.stopped == "early"
    assert len(scores) == trained.best_epoch + 3
    assert scores[trained.best_epoch - 1] == min(scores)
    best = states(asked, data)[trained.best_epoch - 1]
    assert equal(weights_of(trained), best.weights)


def test_the_last_weights_are_kept_where_asked_or_nothing_is_held_out(data: training.Data) -> None:
    overfit = {"epochs": 12, "learning_rate": 0.2, "params": {"factors": 32}}
    last = training.fit(config(keep="last", **overfit), data)
    assert last.best_epoch == 12
    assert last.history[-1].valid_rmse > min(metrics.valid_rmse for metrics in last.history)
    assert {metrics.share for metrics in last.history} == {1.0}
    unheld = training.fit(config(patience=1, **overfit), dataclasses.replace(data, valid=None))
    assert (unheld.best_epoch, unheld.stopped) == (12, "completed")
    assert {metrics.valid_rmse for metrics in unheld.history} == {None}
    assert equal(weights_of(last), weights_of(unheld))


def test_a_loss_that_is_not_finite_ends_the_training_in_its_epoch(data: training.Data) -> None:
    reached: list[int] = []
    asked = config(optimizer="sgd", learning_rate=50.0, epochs=50)
    with pytest.raises(
        TrainingDiverged,
        match=r"epoch \d+ is not finite at learning rate 50, for ratings of 1 to 5; lower",
    ):
        training.fit(asked, data, on_epoch=lambda state: reached.append(state.epoch))
    assert len(reached) < 10


def test_schedules_start_at_the_learning_rate_and_lower_it() -> None:
    rates = {
        schedule: [
            loop.compute_learning_rate(config(schedule=schedule, epochs=10), epoch)
            for epoch in range(1, 11)
        ]
        for schedule in ("constant", "cosine", "factor")
    }
    assert set(rates["constant"]) == {0.02}
    assert rates["factor"][3] == pytest.approx(0.02 * 0.9**3)
    assert rates["cosine"][0] == pytest.approx(0.02)
    assert rates["cosine"][5] == pytest.approx(0.01)
    for schedule in ("cosine", "factor"):
        assert rates[schedule] == sorted(rates[schedule], reverse=True)
        assert rates[schedule][-1] > 0


def test_the_history_tells_the_learning_rate_and_the_speed(data: training.Data) -> None:
    history = training.fit(config(schedule="factor"), data).history
    assert [metrics.epoch for metrics in history] == [1, 2, 3, 4]
    assert history[1].learning_rate == pytest.approx(0.018)
    assert all(metrics.ratings_per_second > 0 for metrics in history)


def test_momentum_speeds_sgd_up(data: training.Data) -> None:
    slow, quick = (
        training.fit(config(optimizer="sgd", learning_rate=0.02, momentum=momentum), data)
        for momentum in (0.0, 0.9)
    )
    assert quick.history[-1].train_rmse < slow.history[-1].train_rmse


def test_weight_decay_and_l2_shrink_the_embeddings(data: training.Data) -> None:
    def norm(**changes: Any) -> float:
        block = training.fit(config(epochs=8, keep="last", **changes), data).block
        return float(block.users.embedding.weight.data().norm().asscalar())

    free = norm()
    assert norm(weight_decay=0.05) < 0.9 * free
    assert norm(l2=0.5) < 0.9 * free


def test_validation_scores_unknown_ids_by_the_biases(data: training.Data) -> None:
    unknown = Part(
        np.array([-1, 0, -1, 0], np.int32), np.array([0, -1, -1, 0], np.int32), np.ones(4, "f")
    )
    trained = training.fit(config(epochs=1), dataclasses.replace(data, valid=unknown))
    known = trained.unit.unscale(
        predict(trained.block, unknown.users[3:], unknown.items[3:], mx.cpu())
    )
    _, *sides = dataclasses.replace(data, valid=unknown).biases
    of_user, of_item = (float(side[0]) for side in sides)
    mean, share = data.train.ratings.mean(), trained.history[0].share
    mixed = share * known[0] + (1 - share) * (mean + of_user + of_item)
    expected = [mean + of_item, mean + of_user, mean, mixed]
    rmse = float(np.sqrt(np.mean((np.array(expected) - 1) ** 2)))
    assert trained.history[0].valid_rmse == pytest.approx(rmse, abs=1e-5)


def test_the_share_of_a_network_is_the_one_that_predicts_the_validation_part_best(
    data: training.Data,
) -> None:
    trained = training.fit(config(epochs=6, learning_rate=0.1), data)
    valid, share = data.valid, trained.kept.share
    assert valid is not None
    known = (valid.users >= 0) & (valid.items >= 0)
    valid = Part(*(array[known] for array in valid))
    found = trained.unit.unscale(predict(trained.block, valid.users, valid.items, mx.cpu()))
    biases = data.biases.predict(valid.users, valid.items)

    def off(share: float) -> float:
        return float(np.mean((valid.ratings - share * found - (1 - share) * biases) ** 2))

    assert 0 < share < 1
    assert off(share) < min(off(share - 0.02), off(share + 0.02))


def test_validation_without_a_known_pair_chooses_no_epoch(data: training.Data) -> None:
    unknown = Part(np.full(3, -1, np.int32), np.zeros(3, np.int32), np.ones(3, "f"))
    trained = training.fit(config(epochs=3, patience=1), dataclasses.replace(data, valid=unknown))
    assert [metrics.valid_rmse for metrics in trained.history] == [None] * 3
    assert trained.best_epoch == 3


def test_a_network_may_bring_a_way_of_its_own_to_be_fitted(
    data: training.Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(config: TrainConfig, data: training.Data, **given: Any) -> training.Trained:
        given["on_epoch"](State((), 0, [], [], None))
        return training.Trained("a block", (), 1, "completed")

    monkeypatch.setattr(networks.load("linear"), "fit", fit, raising=False)
    reached: list[State] = []
    trained = training.fit(config(), data, on_epoch=reached.append)
    assert trained.block == "a block"
    assert len(reached) == 1


def test_what_on_batch_raises_ends_the_training(data: training.Data) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.fit(config(), data, on_batch=stop)


def test_unknown_parameters_of_a_network_are_refused(data: training.Data) -> None:
    with pytest.raises(msgspec.ValidationError, match="hidden"):
        training.fit(config(params={"hidden": 3}), data)
