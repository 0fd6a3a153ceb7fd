"""One epoch: every rating of the training part once, in seeded batches, and the loss they descend."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mftasks.mx import gluon, mx, nd
from mftasks.scoring.errors import Pooled, pooled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Part
    from mftasks.training.replicas import Replicas

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
    """Hold the training part on the devices, and train a network on it, epoch by epoch.

    Each batch is parted among the devices as evenly as can be.
    """

    def __init__(
        self, network: Any, part: Part, *, batch_size: int, l2: float, seed: int, devices: list[Any]
    ) -> None:
        self.part = part
        self.seed = seed
        self.size = min(batch_size, len(part.ratings))
        objective = Objective(network, l2)
        self.shares = [
            _Share(
                objective,
                part,
                self.size,
                number / len(devices),
                (number + 1) / len(devices),
                device,
            )
            for number, device in enumerate(devices)
        ]

    def train(
        self,
        epoch: int,
        optimizer: Replicas,
        learning_rate: float,
        on_batch: Callable[[], None],
    ) -> Pooled:
        """Train on every rating once; return the errors of the predictions as they were made."""
        self._shuffle(epoch)
        n = len(self.part.ratings)
        ahead = max(1, AHEAD // self.size)
        for number, start in enumerate(range(0, n, self.size)):
            for share in self.shares:
                share.descend(number)
            optimizer.apply(min(self.size, n - start), learning_rate)
            on_batch()
            if (number + 1) % ahead == 0:
                self.shares[0].wait()
        return Pooled(squared=sum(share.squared() for share in self.shares), n=n)

    def _shuffle(self, epoch: int) -> None:
        """Seed everything random of this epoch, and put the ratings into its order."""
        seeds = np.random.SeedSequence((self.seed, epoch))
        mx.random.seed(int(seeds.generate_state(1)[0] >> 1))
        order = np.random.default_rng(seeds).permutation(len(self.part.ratings))
        for share in self.shares:
            share.take(self.part, order)


class _Share:
    """Hold what one device does: of each batch of `size`, the ratings between two fractions of it."""

    def __init__(
        self, objective: Objective, part: Part, size: int, low: float, high: float, device: Any
    ) -> None:
        n = len(part.ratings)
        bounds = [
            (start + round(length * low), start + round(length * high))
            for start in range(0, n, size)
            for length in [min(size, n - start)]
        ]
        # Its places in the order of the whole; then those of each batch among its own.
        self._places = np.concatenate([np.arange(*pair) for pair in bounds])
        self._arrays = [nd.empty(len(self._places), device, dtype=array.dtype) for array in part]
        ends = np.cumsum([0, *(end - start for start, end in bounds)])
        self._batches = [
            [array[start:end] for array in self._arrays] if end > start else None
            for start, end in itertools.pairwise(ends.tolist())
        ]
        # Batches may differ in length by one, the last may be shorter, and a graph has one length.
        lengths = {end - start for start, end in bounds if end > start}
        self._graphs = {length: _Graph(objective, length, device) for length in lengths}
        self._gradients = [each.grad(device) for each in objective.collect_params().values()]

    def take(self, part: Part, order: NDArray[np.int64]) -> None:
        """Take its ratings of an epoch, for which no error is counted yet."""
        mine = order[self._places]
        for array, whole in zip(self._arrays, part, strict=True):
            array[:] = whole[mine]
        for graph in self._graphs.values():
            graph.squared[:] = 0

    def descend(self, number: int) -> None:
        """Compute the gradients of its share of a batch."""
        batch = self._batches[number]
        if batch is None:
            for gradient in self._gradients:
                # `gradient[:] = 0` would give a row-sparse one all rows.
                nd.zeros(gradient.shape, gradient.context, stype=gradient.stype).copyto(gradient)
        else:
            self._graphs[len(batch[2])].descend(batch)

    def wait(self) -> None:
        """Wait until its device has done all that it was asked."""
        for graph in self._graphs.values():
            graph.squared.wait_to_read()

    def squared(self) -> float:
        """Return its squared errors of the epoch, added up."""
        return sum(
            float(graph.squared.asnumpy().sum(dtype=np.float64)) for graph in self._graphs.values()
        )


class _Graph:
    """Hold the objective for batches of `n` ratings, bound to the network's weights and gradients.

    Its backward pass and its memory are planned once. Gluon plans the former anew for each batch that
    it records, which took half of an epoch at 100 ratings a batch.
    """

    def __init__(self, objective: Objective, n: int, device: Any) -> None:
        self.n = n
        self.squared = nd.zeros(n, ctx=device)
        self._batch = [
            nd.zeros(n, ctx=device, dtype=kind) for kind in ("int32", "int32", "float32")
        ]
        self._of_loss = [nd.ones(n, ctx=device), nd.zeros(n, ctx=device)]
        names = ("users", "items", "ratings")
        symbol = mx.sym.Group([*objective(*map(mx.sym.var, names))])
        used = set(symbol.list_arguments())
        weights = {
            parameter.name: parameter
            for parameter in objective.collect_params().values()
            if parameter.name in used
        }
        trained = {name: weight for name, weight in weights.items() if weight.grad_req != "null"}
        self._executor = symbol.bind(
            device,
            args={name: weight.data(device) for name, weight in weights.items()}
            | dict(zip(names, self._batch, strict=True)),
            args_grad={name: weight.grad(device) for name, weight in trained.items()},
            grad_req={name: "write" if name in trained else "null" for name in used},
        )

    def descend(self, batch: list[Any]) -> None:
        """Compute the gradients of the summed loss of a batch, and add up its squared errors."""
        for given, bound in zip(batch, self._batch, strict=True):
            given.copyto(bound)
        self._executor.forward(is_train=True)
        self._executor.backward(self._of_loss)
        nd.elemwise_add(self.squared, self._executor.outputs[1], out=self.squared)


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
