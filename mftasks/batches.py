"""One epoch: every rating of the training part once, in seeded batches, and the loss they descend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mftasks.metrics import Pooled, pooled
from mftasks.mx import gluon, mx, nd

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
        # The last batch may be shorter, and a graph is bound to one length.
        lengths = {len(ratings) for _, _, ratings in self.views}
        objective = Objective(network, l2)
        self.graphs = {n: _Graph(objective, n, device) for n in lengths}

    def train(
        self,
        epoch: int,
        optimizer: Optimizer,
        learning_rate: float,
        on_batch: Callable[[], None],
    ) -> Pooled:
        """Train on every rating once; return the errors of the predictions as they were made."""
        self._shuffle(epoch)
        for graph in self.graphs.values():
            graph.squared[:] = 0
        ahead = max(1, AHEAD // self.size)
        for i, batch in enumerate(self.views, start=1):
            graph = self.graphs[len(batch[2])]
            graph.descend(batch)
            optimizer.apply(graph.n, learning_rate)
            on_batch()
            if i % ahead == 0:
                graph.squared.wait_to_read()
        total = sum(
            float(graph.squared.asnumpy().sum(dtype=np.float64)) for graph in self.graphs.values()
        )
        return Pooled(squared=total, n=len(self.part.ratings))

    def _shuffle(self, epoch: int) -> None:
        """Seed everything random of this epoch, and put the ratings into its order."""
        seeds = np.random.SeedSequence((self.seed, epoch))
        mx.random.seed(int(seeds.generate_state(1)[0] >> 1))
        order = np.random.default_rng(seeds).permutation(len(self.part.ratings))
        for array, ordered in zip(self.arrays, self.part, strict=True):
            array[:] = ordered[order]


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
