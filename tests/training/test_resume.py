from __future__ import annotations

import pytest

from mftasks import networks, training
from mftasks.training.state import State
from tests.training.fits import config, equal, states, weights_of


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("network", networks.names())
def test_two_epochs_and_two_more_equal_four_to_the_bit(
    network: str, optimizer: str, lazy: bool, data: training.Data
) -> None:
    asked = config(
        network,
        optimizer=optimizer,
        lazy=lazy,
        momentum=0.5,
        schedule="cosine",
        l2=0.05,
        weight_decay=1e-3,
    )
    reached: list[State] = []
    unbroken = training.fit(asked, data, on_epoch=reached.append)
    resumed = training.fit(asked, data, start=reached[1])
    assert equal(weights_of(resumed), weights_of(unbroken))
    assert resumed.best_epoch == unbroken.best_epoch
    for one, other in zip(resumed.history, unbroken.history, strict=True):
        assert (one.train_rmse, one.valid_rmse) == (other.train_rmse, other.valid_rmse)
    seconds = [metrics.seconds for metrics in resumed.history]
    assert seconds == sorted(seconds)


def test_a_training_whose_best_epoch_lies_before_the_checkpoint_resumes_to_the_same_weights(
    data: training.Data,
) -> None:
    asked = config(epochs=12, learning_rate=0.2, params={"factors": 32})
    reached: list[State] = []
    unbroken = training.fit(asked, data, on_epoch=reached.append)
    assert unbroken.best_epoch < 10
    resumed = training.fit(asked, data, start=reached[9])
    assert equal(weights_of(resumed), weights_of(unbroken))


def test_a_resumed_training_counts_the_cpu_seconds_of_all_its_processes(
    data: training.Data,
) -> None:
    state = states(config(), data)[1]
    assert 0 < state.cpu_seconds < 60
    start = state._replace(cpu_seconds=1000.0)
    reached: list[State] = []
    trained = training.fit(config(), data, start=start, on_epoch=reached.append)
    assert 1000 < reached[0].cpu_seconds < trained.cpu_seconds < 1060
