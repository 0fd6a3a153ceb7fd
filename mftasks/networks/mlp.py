"""The MLP: `r̂ = μ + b_u + b_i + ⟨f(p_u), g(q_i)⟩` with `f(p) = W relu(p) + c`.

g has weights of its own. The notebook's network has neither μ nor b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from mftasks.networks import NOTEBOOK
from mftasks.networks import _parameters as shared
from mftasks.records import TrainConfig

if TYPE_CHECKING:
    from mftasks.networks import Sizes


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shapes the network.

    Embeddings start around a number above 0: around 0, relu silences half of the factors before
    they have learnt anything.
    """

    factors: shared.Factors = 64
    hidden: shared.Hidden = 64
    biases: shared.Biases = True
    center: shared.Center = True
    embedding_center: Annotated[
        float, Meta(ge=-10, le=10, description="Embeddings start around this number.")
    ] = 0.4
    embedding_scale: shared.EmbeddingScale = 0.03
    dense_scale: shared.DenseScale = 0.0
    dense_rate: shared.DenseRate = 0.2


PRESETS = {
    "default": TrainConfig(
        network="mlp",
        params={},
        epochs=12,
        batch_size=1000,
        learning_rate=0.003,
        schedule="cosine",
        l2=0.05,
        patience=4,
    ),
    "notebook": TrainConfig(
        network="mlp",
        params={
            "biases": False,
            "center": False,
            "embedding_center": 0.0,
            "embedding_scale": 0.01,
            "dense_scale": 0.01,
            "dense_rate": 1.0,
        },
        epochs=20,
        batch_size=100,
        **NOTEBOOK,
    ),
}


def build(sizes: Sizes, params: Params, *, lazy: bool) -> Any:
    """Make the network, not yet initialized."""
    from mftasks.mx import gluon
    from mftasks.networks._sides import Sides, make_dense, make_sequence

    def tower() -> Any:
        return make_sequence(
            gluon.nn.Activation("relu"), make_dense(params.factors, params.hidden, params)
        )

    return Sides(
        sizes,
        params,
        lazy=lazy,
        tower=tower,
        width=params.hidden,
        around=params.embedding_center,
    )
