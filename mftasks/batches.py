"""One epoch: every rating of the training part once, in seeded batches, and the loss they descend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mftasks.metrics import Pooled, pooled
from mftasks.mx import autograd, gluon, mx, nd

if TYPE_CHECKING:
    from mftasks.optimizer import Optimizer
    from mftasks.ratings import Part

AHEAD = 100_000  # ratings that Python may run ahead of the engine: a signal waits for no more
CHUNK = 1 << 16  # ratings that are predicted at once


class Objective(gluon.HybridBlock):
    """Map users, items and ratings to the loss `½ ((r − r̂)² + l2 · penalty)` and to `(r − r̂)²`."""

    def __init__(self, network: Any, l2: float) -> None:
        super().__init__()
        self.network = network
        self.l2 = l2

    def hybrid_forward(self, F: Any, users: Any, items: Any, ratings: Any) -> tuple[Any, Any]:
        predicted, penalty = self.network(users, items)
        squared = F.square(predicted - ratings)
        loss = squared + self.l2 * penalty if self.l2 else squared
        return 0.5 * loss, F.BlockGrad(squared)


class Batches:
    """Hold the training part on the device, and train a network on it, epoch by epoch."""

    def __init__(
        self, network: Any, part: Part, *, batch_size: int, l2: float, seed: int, device: Any
    ) -> None:
        self.part = part
        self.seed = seed
        self.size = min(batch_size, len(part.ratings))
        self.arrays = [nd.array(array, ctx=device, dtype=array.dtype) for array in part]
        starts = range(0, len(part.ratings), self.size)
        self.views = [[array[at : at + self.size] for array in self.arrays] for at in starts]
        # The last batch may be shorter: memory that is planned once needs a graph for each length.
        lengths = {len(ratings) for _, _, ratings in self.views}
        self.objectives = {n: _compiled(network, l2) for n in lengths}

    def train(
        self,
        epoch: int,
        optimizer: Optimizer,
        learning_rate: float,
        on_batch: Callable[[], None],
    ) -> Pooled:
        """Train on every rating once; return the errors of the predictions as they were made."""
        self._shuffle(epoch)
        total = 0.0
        ahead = max(1, AHEAD // self.size)
        for at in range(0, len(self.views), ahead):
            errors = []
            for users, items, ratings in self.views[at : at + ahead]:
                n = len(ratings)
                with autograd.record():
                    loss, squared = self.objectives[n](users, items, ratings)
                loss.backward()
                optimizer.apply(n, learning_rate)
                errors.append(squared)
                on_batch()
            total += float(nd.concat(*errors, dim=0).asnumpy().sum(dtype=np.float64))
        return Pooled(squared=total, n=len(self.part.ratings))

    def _shuffle(self, epoch: int) -> None:
        """Seed everything random of this epoch, and put the ratings into its order."""
        seeds = np.random.SeedSequence((self.seed, epoch))
        mx.random.seed(int(seeds.generate_state(1)[0] >> 1))
        order = np.random.default_rng(seeds).permutation(len(self.part.ratings))
        for array, ordered in zip(self.arrays, self.part, strict=True):
            array[:] = ordered[order]


def validate(
    network: Any, part: Part, *, mean: float, low: float, high: float, device: Any
) -> Pooled:
    """Return the errors of clipped predictions; ids that are not in training get the mean."""
    known = (part.users >= 0) & (part.items >= 0)
    predicted = np.full(len(part.ratings), mean, np.float32)
    predicted[known] = predict(network, part.users[known], part.items[known], device)
    return pooled(predicted.clip(low, high), part.ratings)


def predict(network: Any, users: Any, items: Any, device: Any) -> Any:
    """Return what the network predicts, unclipped, float32."""
    predicted = np.empty(len(users), np.float32)
    for start in range(0, len(users), CHUNK):
        chunk = slice(start, start + CHUNK)
        sides = (nd.array(side[chunk], ctx=device, dtype=np.int32) for side in (users, items))
        predicted[chunk] = network(*sides)[0].asnumpy()
    return predicted


def _compiled(network: Any, l2: float) -> Objective:
    objective = Objective(network, l2)
    objective.hybridize(static_alloc=True, static_shape=True)
    return objective
