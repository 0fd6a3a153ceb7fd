"""What the networks share: a user side and an item side that meet in an inner product."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy

from mftasks.factors import Factors
from mftasks.mx import CHUNK, gluon, mx, nd

if TYPE_CHECKING:
    from mftasks.networks import Sizes


class Sides(gluon.HybridBlock):
    """A network that predicts `r̂ = μ + b_u + b_i + ⟨f(p_u), g(q_i)⟩`.

    `tower` makes f and g, each with weights of its own; None leaves the embeddings as they are.
    `width` is the length of their vectors, that of the embeddings unless a tower changes it.
    Without `biases` there are no b, without `center` no μ. Embeddings start evenly within `around`
    ± `embedding_scale`.
    """

    def __init__(
        self,
        sizes: Sizes,
        params: Any,
        *,
        lazy: bool,
        tower: Callable[[], Any] | None = None,
        width: int | None = None,
        around: float = 0.0,
    ) -> None:
        super().__init__()
        self.mean = sizes.mean_rating if params.center else 0.0
        self.width = width or params.factors
        start = _Around(around, params.embedding_scale)
        with self.name_scope():
            self.users = _Side(sizes.n_users, params, start, lazy, tower)
            self.items = _Side(sizes.n_items, params, start, lazy, tower)

    def hybrid_forward(self, F: Any, users: Any, items: Any) -> tuple[Any, Any]:
        of_user, of_item = self.users(users), self.items(items)
        predicted = sum_rows(F, of_user[0] * of_item[0], self.width)
        if len(of_user) == 3:
            predicted = predicted + of_user[2] + of_item[2]
        if self.mean:
            predicted = predicted + self.mean
        return predicted, of_user[1] + of_item[1]

    def factors(self) -> Factors:
        """Return the vectors and biases of all users and items: what the network predicts by."""
        (user_vectors, user_bias), (item_vectors, item_bias) = map(_run, (self.users, self.items))
        mu = numpy.float32(self.mean)
        return Factors(mu, user_bias, item_bias, user_vectors, item_vectors)


def _run(side: _Side) -> tuple[Any, Any]:
    """Return the vectors and the biases of a whole side, zeros if it has none."""
    vectors, biases = [], []
    for start in range(0, side.n, CHUNK):
        rows = nd.arange(start, min(start + CHUNK, side.n), dtype="int32")
        found = [output.asnumpy() for output in side(rows)]
        vectors.append(found[0])
        biases.append(found[2] if len(found) == 3 else numpy.zeros(len(found[0]), numpy.float32))
    return numpy.concatenate(vectors), numpy.concatenate(biases)


class _Side(gluon.HybridBlock):
    """The embedding of users or of items, and the tower that transforms it.

    Its outputs are the vectors, the penalty and, if there are any, the biases. `lazy` gives
    embeddings and biases gradients that hold only the rows of the batch.
    """

    def __init__(
        self, n: int, params: Any, start: Any, lazy: bool, tower: Callable[[], Any] | None
    ) -> None:
        super().__init__()
        self.n = n
        self.width = params.factors
        self.lazy = lazy
        self.bias: Any = None
        with self.name_scope():
            self.embedding = gluon.nn.Embedding(
                n, params.factors, weight_initializer=start, sparse_grad=lazy
            )
            self.tower = tower() if tower else None
            if params.biases:
                # Its name does not end in `weight`: weight decay spares it.
                self.bias = self.params.get(
                    "bias",
                    shape=(n, 1),
                    init="zeros",
                    grad_stype="row_sparse" if lazy else "default",
                )

    def hybrid_forward(self, F: Any, positions: Any, bias: Any = None) -> tuple[Any, ...]:
        embedded = self.embedding(positions)
        penalty = sum_rows(F, F.square(embedded), self.width)
        vectors = self.tower(embedded) if self.tower else embedded
        if bias is None:
            return vectors, penalty
        biases = F.reshape(
            F.Embedding(positions, bias, input_dim=self.n, output_dim=1, sparse_grad=self.lazy),
            shape=(-1,),
        )
        return vectors, penalty, biases


class _Around(mx.init.Initializer):
    """An initializer that draws weights evenly within `center` ± `scale`."""

    def __init__(self, center: float, scale: float) -> None:
        super().__init__(center=center, scale=scale)
        self.low, self.high = center - scale, center + scale

    def _init_weight(self, name: str, array: Any) -> None:
        mx.random.uniform(self.low, self.high, out=array)


class Residual(gluon.HybridBlock):
    """A block that adds to its input what `body` makes of it."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        with self.name_scope():
            self.body = body

    def hybrid_forward(self, F: Any, inputs: Any) -> Any:
        return inputs + self.body(inputs)


def sum_rows(F: Any, rows: Any, width: int) -> Any:
    """Sum along axis 1, of length `width`; a product with ones takes a tenth of the time of `F.sum`."""
    return F.dot(rows, F.ones((width,)))


def make_dense(n_inputs: int, n_outputs: int, params: Any) -> Any:
    """Make a dense layer; its weights start within ±`dense_scale`, or as Glorot's if that is 0."""
    start = mx.init.Uniform(params.dense_scale) if params.dense_scale else mx.init.Xavier()
    layer = gluon.nn.Dense(n_outputs, in_units=n_inputs, weight_initializer=start)
    for parameter in (layer.weight, layer.bias):
        parameter.lr_mult = params.dense_rate
    return layer


def make_sequence(*layers: Any) -> Any:
    """Apply `layers` one after another."""
    block = gluon.nn.HybridSequential()
    block.add(*layers)
    return block
