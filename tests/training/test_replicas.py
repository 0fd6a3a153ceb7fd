from __future__ import annotations

import msgspec
import pytest

from mftasks import networks, training
from mftasks.mx import contexts
from mftasks.training.batches import Batches
from mftasks.training.replicas import Replicas
from mftasks.training.state import State
from tests.training.fits import SIZES, config, equal, weights_of


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("network", networks.names())
def test_several_devices_learn_what_one_learns(
    network: str, optimizer: str, lazy: bool, data: training.Data
) -> None:
    params = {"factors": 8} | ({"dropout": 0.0} if network == "resnet" else {})
    given = {"optimizer": optimizer, "lazy": lazy, "l2": 0.05, "momentum": 0.5, "params": params}
    given |= {"keep": "last"}
    asked = config(network, epochs=2, **given)
    assert len(data.train.ratings) % asked.batch_size < 3, "a device must be idle in the last batch"
    alone = training.fit(asked, data)
    shared = training.fit(asked, data, n_devices=3)
    for one, other in zip(shared.history, alone.history, strict=True):
        assert one.train_rmse == pytest.approx(other.train_rmse, abs=2e-5)
        assert one.valid_rmse == pytest.approx(other.valid_rmse, abs=2e-5)
    for mine, theirs in zip(weights_of(shared), weights_of(alone), strict=True):
        assert mine == pytest.approx(theirs, abs=2e-3)


def test_every_device_has_a_share_of_each_batch_and_the_same_weights(data: training.Data) -> None:
    given = config("resnet")
    network = networks.load("resnet")
    params = msgspec.convert(given.params, network.Params)
    block = network.build(SIZES, params, lazy=True)
    three = contexts("cpu", 3)
    block.initialize(ctx=three)
    parameters = list(block.collect_params().values())
    replicas = Replicas(parameters, given, None, three)
    batches = Batches(block, data.train, batch_size=64, l2=0.1, seed=0, contexts=three)
    batches.train(1, replicas, 0.01, lambda: None)
    shares = [len(share._places) for share in batches.shares]
    assert sum(shares) == len(data.train.ratings)
    assert max(shares) - min(shares) <= len(data.train.ratings) / 64 + 1
    for parameter in parameters:
        first, *others = (copy.asnumpy() for copy in parameter.list_data())
        assert equal([first] * 2, others)


def test_two_devices_resume_to_the_same_bits(data: training.Data) -> None:
    asked = config("resnet")
    reached: list[State] = []
    unbroken = training.fit(asked, data, n_devices=2, on_epoch=reached.append)
    resumed = training.fit(asked, data, n_devices=2, start=reached[1])
    assert equal(weights_of(resumed), weights_of(unbroken))
