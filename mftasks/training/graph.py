"""The loss of a network, and its gradients, bound to the network's weights once."""

from __future__ import annotations

from typing import Any

from mftasks.mx import gluon, mx, nd


class Objective(gluon.HybridBlock):
    """Users, items and ratings to the loss `½ ((r − r̂)² + l2 · penalty)` and to `(r − r̂)²`."""

    def __init__(self, network: Any, l2: float) -> None:
        super().__init__()
        self.network = network
        self.l2 = l2

    def hybrid_forward(self, F: Any, users: Any, items: Any, ratings: Any) -> tuple[Any, Any]:
        predicted, penalty = self.network(users, items)
        squared = F.square(predicted - ratings)
        loss = squared + self.l2 * penalty if self.l2 else squared
        return 0.5 * loss, F.BlockGrad(squared)


class Graph:
    """An objective for batches of `n` ratings, bound to the network's weights and gradients.

    Its backward pass and its memory are planned once. Gluon plans the former again for each batch that
    it records, which took half of an epoch at 100 ratings a batch.
    """

    def __init__(self, objective: Objective, n: int, context: Any) -> None:
        self.squared = nd.zeros(n, ctx=context)
        self._batch = [
            nd.zeros(n, ctx=context, dtype=kind) for kind in ("int32", "int32", "float32")
        ]
        self._of_loss = [nd.ones(n, ctx=context), nd.zeros(n, ctx=context)]
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
            context,
            args={name: weight.data(context) for name, weight in weights.items()}
            | dict(zip(names, self._batch, strict=True)),
            args_grad={name: weight.grad(context) for name, weight in trained.items()},
            grad_req={name: "write" if name in trained else "null" for name in used},
        )

    def descend(self, batch: list[Any]) -> None:
        """Write the gradients of the summed loss of a batch, and add up its squared errors."""
        for given, bound in zip(batch, self._batch, strict=True):
            given.copyto(bound)
        self._executor.forward(is_train=True)
        self._executor.backward(self._of_loss)
        nd.elemwise_add(self.squared, self._executor.outputs[1], out=self.squared)
