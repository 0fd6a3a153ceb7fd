"""Short trainings of a small matrix of ratings."""

from __future__ import annotations

from typing import Any

import numpy as np

from mftasks import networks, training
from mftasks.records import TrainConfig
from mftasks.training.state import State

SIZES = networks.Sizes(60, 40, 3.5)


def config(network: str = "linear", **changes: Any) -> TrainConfig:
    given = {"epochs": 4, "batch_size": 64, "learning_rate": 0.02, "params": {"factors": 8}}
    return TrainConfig(network=network, **{**given, **changes})


def states(config: TrainConfig, data: training.Data) -> list[State]:
    reached: list[State] = []
    training.fit(config, data, on_epoch=reached.append)
    return reached


def weights_of(trained: training.Trained) -> list[np.ndarray]:
    return [parameter.data().asnumpy() for parameter in trained.block.collect_params().values()]


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
