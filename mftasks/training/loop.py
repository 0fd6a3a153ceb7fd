"""The training loop of networks that descend a gradient: epochs, schedule, early stopping, best weights.

Each epoch seeds its shuffle and its dropout from (seed, epoch), so that two epochs and two more equal
four to the bit, and no random state has to be saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mftasks import networks
from mftasks.errors import TrainingDiverged
from mftasks.factors import units
from mftasks.mx import mx, nd
from mftasks.records import EpochMetrics
from mftasks.training.batches import Batches
from mftasks.training.replicas import Replicas
from mftasks.training.state import Data, State, Trained
from mftasks.training.validation import Validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.records import TrainConfig

FACTOR = 0.9  # by which the schedule `factor` shrinks the learning rate each epoch


def fit(
    config: TrainConfig,
    data: Data,
    *,
    contexts: Sequence[Any],
    start: State | None,
    on_epoch: Callable[[State], None],
    on_batch: Callable[[], None],
) -> Trained:
    """Train the network of `config` on MXNet's `contexts`; see `mftasks.training.fit`."""
    training = _Training(config, data, start, contexts)
    while not training.stopped_early and training.epoch < config.epochs:
        on_epoch(training.advance(on_batch))
    return training.finish()


def compute_learning_rate(config: TrainConfig, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 1."""
    done = epoch - 1
    if config.schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * done / config.epochs)) / 2
    if config.schedule == "factor":
        return config.learning_rate * FACTOR**done
    return config.learning_rate


class _Training:
    """The network, its optimizer and the ratings on the devices, and the history so far."""

    def __init__(
        self, config: TrainConfig, data: Data, start: State | None, contexts: Sequence[Any]
    ) -> None:
        self.config = config
        self.data = data
        self.home = contexts[0]
        self.history = start.history if start else ()
        self.best_weights = start.best_weights if start else None
        self.unit = units.measure(data.train.ratings) if config.standardize else units.AS_RATED
        self.block = _initialize(config, data, contexts)
        self.parameters = list(self.block.collect_params().values())
        if start:
            self._load(start.weights)
        self.replicas = Replicas(self.parameters, config, start, contexts)
        self.validation = Validation(data, self.unit, weigh=config.keep == "best")
        self.batches = Batches(
            self.block,
            data.train._replace(ratings=self.unit.scale(data.train.ratings)),
            batch_size=config.batch_size,
            l2=config.l2,
            seed=config.seed,
            contexts=contexts,
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
        """Return whether patience is at an end; it begins once the network has a share in predictions."""
        waited = self.epoch - self.best_epoch
        return 0 < self.config.patience <= waited and self.history[self.best_epoch - 1].share > 0

    def advance(self, on_batch: Callable[[], None]) -> State:
        """Train for one more epoch."""
        before = self.history[-1].seconds if self.history else 0.0
        began = time.perf_counter()
        rate = compute_learning_rate(self.config, self.epoch + 1)
        train_rmse = self.batches.train(self.epoch + 1, self.replicas, rate, on_batch)
        ratings_per_second = len(self.data.train.ratings) / (time.perf_counter() - began)
        self.replicas.lift()
        weights = [parameter.data().asnumpy() for parameter in self.parameters]
        self._check_finite(train_rmse, weights, rate)
        validated = self.validation.score(self.block, self.home)
        metrics = EpochMetrics(
            epoch=self.epoch + 1,
            train_rmse=abs(self.unit.spread) * train_rmse,
            valid_rmse=validated.rmse if validated else None,
            share=validated.share if validated else 1.0,
            learning_rate=rate,
            seconds=before + time.perf_counter() - began,
            ratings_per_second=ratings_per_second,
        )
        self.history = (*self.history, metrics)
        self._keep(weights)
        return State(
            history=self.history,
            n_updates=self.replicas.n_updates,
            weights=weights,
            moments=self.replicas.moments(),
            best_weights=self.best_weights,
        )

    def finish(self) -> Trained:
        """Put the weights that are to be exported into the network, on the CPU."""
        if self.best_weights is not None:
            self._load(self.best_weights)
        self.block.collect_params().reset_ctx(mx.cpu())
        return Trained(
            block=self.block,
            history=self.history,
            best_epoch=self.epoch if self.best_weights is None else self.best_epoch,
            stopped="early" if self.stopped_early else "completed",
            unit=self.unit,
        )

    def _check_finite(
        self, train_rmse: float, weights: list[NDArray[np.float32]], rate: float
    ) -> None:
        if math.isfinite(train_rmse) and all(np.isfinite(array).all() for array in weights):
            return
        ratings = self.data.train.ratings
        raise TrainingDiverged(
            f"{self.config.network}: the loss of epoch {self.epoch + 1} is not finite at learning rate "
            f"{rate:g}, for ratings of {ratings.min():g} to {ratings.max():g}; lower learning_rate, to "
            f"{rate / 10:g} for instance, or correct ratings that are out of scale"
        )

    def _keep(self, weights: list[NDArray[np.float32]]) -> None:
        scored = self.history[-1].valid_rmse is not None
        if self.config.keep == "best" and scored and self.best_epoch == self.epoch:
            self.best_weights = weights

    def _load(self, weights: list[NDArray[np.float32]]) -> None:
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.set_data(nd.array(weight, ctx=self.home))


def _initialize(config: TrainConfig, data: Data, contexts: Sequence[Any]) -> Any:
    """Return the network of `config` with the weights that its seed gives."""
    network = networks.load(config.network)
    params = msgspec.convert(config.params, network.Params)
    sizes = data.sizes._replace(mean_rating=0.0) if config.standardize else data.sizes
    block = network.build(sizes, params, lazy=config.lazy)
    mx.random.seed(config.seed)
    block.initialize(ctx=list(contexts))
    block.hybridize(static_alloc=True)
    return block
