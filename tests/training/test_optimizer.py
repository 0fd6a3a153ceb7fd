from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mftasks.mx import gluon, mx, nd
from mftasks.records import TrainConfig
from mftasks.training.optimizer import Optimizer


def config(**changes: Any) -> TrainConfig:
    given = {"network": "linear", "params": {}, "epochs": 1, "batch_size": 1, "learning_rate": 0.1}
    return TrainConfig(**{**given, **changes})


def parameters(*, sparse: bool = False) -> list[gluon.Parameter]:
    """Make two weights and a bias with gradients of their own, always the same ones."""
    random = np.random.default_rng(5)
    made = []
    for name, shape in (("one_weight", (4, 3)), ("two_weight", (6, 2)), ("a_bias", (5, 1))):
        stype = "row_sparse" if sparse else "default"
        parameter = gluon.Parameter(name, shape=shape, grad_stype=stype)
        parameter.initialize(mx.init.Zero())
        parameter.set_data(nd.array(random.normal(size=shape)))
        gradient = random.normal(size=shape)
        gradient[2:] *= not sparse
        parameter.grad()[:] = nd.array(gradient).tostype(stype)
        made.append(parameter)
    return made


def values(some: list[gluon.Parameter]) -> list[np.ndarray]:
    return [parameter.data().asnumpy() for parameter in some]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("optimizer", "momentum"), [("adam", 0.0), ("sgd", 0.0), ("sgd", 0.7)])
def test_it_updates_as_the_optimizers_of_mxnet_do(
    optimizer: str, momentum: float, weight_decay: float, sparse: bool
) -> None:
    mine, theirs = parameters(sparse=sparse), parameters(sparse=sparse)
    asked = config(optimizer=optimizer, momentum=momentum, weight_decay=weight_decay)
    ours = Optimizer(mine, asked, None)
    options = {} if optimizer == "adam" else {"momentum": momentum}
    rule = mx.optimizer.create(
        optimizer,
        wd=weight_decay,
        lazy_update=True,
        rescale_grad=1 / 8,
        param_idx2name={i: parameter.name for i, parameter in enumerate(theirs)},
        **options,
    )
    update = mx.optimizer.get_updater(rule)
    for step in range(5):
        rate = 0.1 / (step + 1)
        ours.apply(8, rate)
        rule.set_learning_rate(rate)
        for i, parameter in enumerate(theirs):
            update(i, parameter.grad(), parameter.data())
    for one, other, start in zip(values(mine), values(theirs), values(parameters()), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
        assert not np.allclose(one, start, atol=0.01)


def test_rows_that_a_batch_does_not_touch_stay_as_they_are() -> None:
    some = parameters(sparse=True)
    before = values(some)
    optimizer = Optimizer(some, config(weight_decay=0.3), None)
    for _ in range(3):
        optimizer.apply(1, 0.1)
    for old, new in zip(before, values(some), strict=True):
        assert np.array_equal(old[2:], new[2:])
        assert not np.isclose(old[:2], new[:2]).any()


def test_a_parameter_learns_at_its_own_rate() -> None:
    some = parameters()
    before = values(some)
    some[0].lr_mult = 0.0
    Optimizer(some, config(), None).apply(1, 0.1)
    after = values(some)
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1])


def test_weights_that_decayed_to_nothing_are_lifted_so_that_they_can_come_back() -> None:
    some = parameters()
    some[0].data()[0, 0] = 0.0
    some[2].data()[0, 0] = 0.0
    before = values(some)
    Optimizer(some, config(), None).lift()
    assert all(np.array_equal(a, b) for a, b in zip(before, values(some), strict=True))
    Optimizer(some, config(weight_decay=0.1), None).lift()
    lifted = values(some)
    assert lifted[0][0, 0] == pytest.approx(1e-20)
    assert np.array_equal(lifted[0].ravel()[1:], before[0].ravel()[1:])
    assert lifted[2][0, 0] == 0, "decay spares biases, and so does this"
