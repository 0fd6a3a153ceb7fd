"""One epoch: every rating of the training part once, in seeded batches that the devices share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mftasks.mx import mx, nd
from mftasks.training.graph import Graph, Objective

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Part
    from mftasks.training.replicas import Replicas

AHEAD = 100_000  # ratings that Python may run ahead of the engine: a signal waits for no more


class Batches:
    """The training part, on the devices that train a network on it, epoch by epoch.

    Each batch is divided among the devices as evenly as possible.
    """

    def __init__(
        self,
        network: Any,
        part: Part,
        *,
        batch_size: int,
        l2: float,
        seed: int,
        contexts: Sequence[Any],
    ) -> None:
        self.part = part
        self.seed = seed
        self.size = min(batch_size, len(part.ratings))
        objective = Objective(network, l2)
        edges = [number / len(contexts) for number in range(len(contexts) + 1)]
        self.shares = [
            _Share(objective, part, _divide(len(part.ratings), self.size, low, high), context)
            for (low, high), context in zip(itertools.pairwise(edges), contexts, strict=True)
        ]

    def train(
        self, epoch: int, replicas: Replicas, learning_rate: float, on_batch: Callable[[], None]
    ) -> float:
        """Train on every rating once; return the RMSE of predictions as they were made.

        The shares write gradients into the network's parameters, by which `replicas` update them.
        """
        self._shuffle(epoch)
        n = len(self.part.ratings)
        ahead = max(1, AHEAD // self.size)
        for number, start in enumerate(range(0, n, self.size)):
            for share in self.shares:
                share.descend(number)
            replicas.apply(min(self.size, n - start), learning_rate)
            on_batch()
            if (number + 1) % ahead == 0:
                self.shares[0].wait()
        return math.sqrt(sum(share.sum_squared() for share in self.shares) / n)

    def _shuffle(self, epoch: int) -> None:
        """Seed everything random of this epoch, and put the ratings into its order."""
        seeds = np.random.SeedSequence((self.seed, epoch))
        mx.random.seed(int(seeds.generate_state(1)[0] >> 1))
        order = np.random.default_rng(seeds).permutation(len(self.part.ratings))
        for share in self.shares:
            share.take(self.part, order)


def _divide(n: int, size: int, low: float, high: float) -> list[tuple[int, int]]:
    """Return which places of `n`, in batches of `size`, lie between two fractions of their batch."""
    return [
        (start + round(length * low), start + round(length * high))
        for start in range(0, n, size)
        for length in [min(size, n - start)]
    ]


class _Share:
    """What one device trains on: of the order of each epoch, the places within `bounds`."""

    def __init__(
        self, objective: Objective, part: Part, bounds: list[tuple[int, int]], context: Any
    ) -> None:
        self._places = np.concatenate([np.arange(*pair) for pair in bounds])
        self._arrays = [nd.empty(len(self._places), context, dtype=array.dtype) for array in part]
        # Where each batch begins and ends in these arrays; None for one without ratings of this share.
        ends = np.cumsum([0, *(end - start for start, end in bounds)])
        self._batches = [
            [array[start:end] for array in self._arrays] if end > start else None
            for start, end in itertools.pairwise(ends.tolist())
        ]
        # Batches may differ in length by one, the last may be shorter, and a graph has one length.
        lengths = {end - start for start, end in bounds if end > start}
        self._graphs = {length: Graph(objective, length, context) for length in lengths}
        self._gradients = [each.grad(context) for each in objective.collect_params().values()]

    def take(self, part: Part, order: NDArray[np.int64]) -> None:
        """Take the ratings of an epoch, and count its errors from zero."""
        mine = order[self._places]
        for array, whole in zip(self._arrays, part, strict=True):
            array[:] = whole[mine]
        for graph in self._graphs.values():
            graph.squared[:] = 0

    def descend(self, number: int) -> None:
        """Write the gradients of this share of a batch."""
        batch = self._batches[number]
        if batch is None:
            for gradient in self._gradients:
                # `gradient[:] = 0` would add all rows to a row-sparse one.
                nd.zeros(gradient.shape, gradient.context, stype=gradient.stype).copyto(gradient)
        else:
            self._graphs[len(batch[2])].descend(batch)

    def wait(self) -> None:
        """Wait until the device has done all that was asked of it."""
        for graph in self._graphs.values():
            graph.squared.wait_to_read()

    def sum_squared(self) -> float:
        """Return the squared errors of the epoch, added up."""
        return sum(
            float(graph.squared.asnumpy().sum(dtype=np.float64)) for graph in self._graphs.values()
        )
