"""The one training loop of all networks: epochs, schedule, early stopping, the best weights kept.

It knows nothing of store or Airflow: `on_epoch` gets metrics and state of each epoch, and `start` is
such a state. Each epoch seeds its shuffle and its dropout from (seed, epoch), so that two epochs and
two more equal four to the bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np

from mftasks import networks
from mftasks.errors import TrainingDiverged
from mftasks.mx import mx, nd
from mftasks.records import EpochMetrics
from mftasks.training.batches import Batches, validate
from mftasks.training.replicas import Replicas
from mftasks.training.state import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Part
    from mftasks.records import TrainConfig

FACTOR = 0.9  # by which the schedule `factor` shrinks the learning rate each epoch


class Data(NamedTuple):
    """Hold what a network is trained on; ratings lie within `low` and `high`."""

    train: Part
    valid: Part | None
    sizes: networks.Sizes
    low: float
    high: float


class Trained(NamedTuple):
    """Hold a network with the weights of `best_epoch`, and how it came to them."""

    block: Any
    history: tuple[EpochMetrics, ...]
    best_epoch: int
    stopped: Literal["completed", "early"]


def fit(
    config: TrainConfig,
    data: Data,
    *,
    on_epoch: Callable[[EpochMetrics, State], None] = lambda metrics, state: None,
    on_batch: Callable[[], None] = lambda: None,
    start: State | None = None,
    devices: Sequence[Any] = (),
) -> Trained:
    """Train the network of `config` on `devices`, from `start` where there is one.

    On several devices (MXNet contexts; the CPU where none is named) the result is that of one within
    rounding, but for dropout, whose masks differ. What `on_epoch` and `on_batch` raise ends the training. Raises `TrainingDiverged` in the epoch
    in which the loss or a weight is no longer finite.
    """
    training = _Training(config, data, start, list(devices) or [mx.cpu()])
    while not training.stopped_early and training.epoch < config.epochs:
        state = training.advance(on_batch)
        on_epoch(state.history[-1], state)
    return training.finish()


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 1."""
    done = epoch - 1
    if config.schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * done / config.epochs)) / 2
    if config.schedule == "factor":
        return config.learning_rate * FACTOR**done
    return config.learning_rate


class _Training:
    """Hold the network, its optimizer and the ratings on the devices, and what was learnt so far."""

    def __init__(
        self, config: TrainConfig, data: Data, start: State | None, devices: list[Any]
    ) -> None:
        self.config = config
        self.data = data
        self.device = devices[0]
        self.history = start.history if start else ()
        self.best_weights = start.best_weights if start else None
        self.block = _initialized(config, data.sizes, devices)
        self.parameters = list(self.block.collect_params().values())
        if start:
            self._load(start.weights)
        self.optimizer = Replicas(self.parameters, config, start, devices)
        self.batches = Batches(
            self.block,
            data.train,
            batch_size=config.batch_size,
            l2=config.l2,
            seed=config.seed,
            devices=devices,
        )

    @property
    def epoch(self) -> int:
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """Return the epoch of the least validation RMSE, the last one without a validation part."""
        scored = [metrics for metrics in self.history if metrics.valid_rmse is not None]
        best = min(scored, key=lambda metrics: metrics.valid_rmse or 0.0, default=None)
        return best.epoch if best else self.epoch

    @property
    def stopped_early(self) -> bool:
        return 0 < self.config.patience <= self.epoch - self.best_epoch

    def advance(self, on_batch: Callable[[], None]) -> State:
        """Train for one more epoch."""
        before = self.history[-1].seconds if self.history else 0.0
        began = time.perf_counter()
        rate = learning_rate(self.config, self.epoch + 1)
        trained = self.batches.train(self.epoch + 1, self.optimizer, rate, on_batch)
        ratings_per_second = trained.n / (time.perf_counter() - began)
        self.optimizer.lift()
        weights = [parameter.data().asnumpy() for parameter in self.parameters]
        self._check_finite(trained.squared, weights, rate)
        metrics = EpochMetrics(
            epoch=self.epoch + 1,
            train_rmse=trained.rmse,
            valid_rmse=self._valid_rmse(),
            learning_rate=rate,
            seconds=before + time.perf_counter() - began,
            ratings_per_second=ratings_per_second,
        )
        self.history = (*self.history, metrics)
        self._keep(weights)
        return State(
            history=self.history,
            n_updates=self.optimizer.n_updates,
            weights=weights,
            moments=self.optimizer.moments(),
            best_weights=self.best_weights,
        )

    def finish(self) -> Trained:
        """Put the kept weights into the network."""
        if self.best_weights is not None:
            self._load(self.best_weights)
        self.block.collect_params().reset_ctx(self.device)
        return Trained(
            block=self.block,
            history=self.history,
            best_epoch=self.epoch if self.best_weights is None else self.best_epoch,
            stopped="early" if self.stopped_early else "completed",
        )

    def _check_finite(
        self, squared: float, weights: list[NDArray[np.float32]], rate: float
    ) -> None:
        if math.isfinite(squared) and all(np.isfinite(array).all() for array in weights):
            return
        raise TrainingDiverged(
            f"{self.config.network}: the loss of epoch {self.epoch + 1} is not finite at learning "
            f"rate {rate:g}; lower learning_rate, to {rate / 10:g} for instance"
        )

    def _valid_rmse(self) -> float | None:
        if self.data.valid is None:
            return None
        return validate(
            self.block,
            self.data.valid,
            mean=self.data.sizes.mean_rating,
            low=self.data.low,
            high=self.data.high,
            device=self.device,
        ).rmse

    def _keep(self, weights: list[NDArray[np.float32]]) -> None:
        scored = self.history[-1].valid_rmse is not None
        if self.config.keep == "best" and scored and self.best_epoch == self.epoch:
            self.best_weights = weights

    def _load(self, weights: list[NDArray[np.float32]]) -> None:
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.set_data(nd.array(weight, ctx=self.device))


def _initialized(config: TrainConfig, sizes: networks.Sizes, devices: list[Any]) -> Any:
    """Return the network of `config` with the weights that its seed gives."""
    network = networks.load(config.network)
    params = msgspec.convert(config.params, network.Params)
    block = network.build(sizes, params, lazy=config.lazy)
    mx.random.seed(config.seed)
    block.initialize(ctx=devices)
    block.hybridize(static_alloc=True)
    return block
