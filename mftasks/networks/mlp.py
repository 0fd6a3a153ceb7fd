"""The MLP: `r̂ = μ + b_u + b_i + ⟨f(p_u), g(q_i)⟩` with `f(p) = W relu(p) + c`.

g has weights of its own. The notebook's network has neither μ nor b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mftasks.networks import NOTEBOOK
from mftasks.records import NotNegative, Positive, TrainConfig, Width

if TYPE_CHECKING:
    from mftasks.networks import Sizes


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shape the network.

    Embeddings start evenly within `embedding_center` ± `embedding_scale`: above 0, or relu silences
    half of the factors before they have learnt anything. Dense weights start within ±`dense_scale`,
    as Glorot's where that is 0, and learn at `dense_rate` times the learning rate.
    """

    factors: Width = 64
    hidden: Width = 64
    biases: bool = True
    center: bool = True
    embedding_center: float = 0.4
    embedding_scale: Positive = 0.03
    dense_scale: NotNegative = 0.0
    dense_rate: Positive = 0.2


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
    from mftasks.networks._sides import Sides, dense, sequence

    def tower() -> Any:
        return sequence(gluon.nn.Activation("relu"), dense(params.factors, params.hidden, params))

    return Sides(
        sizes,
        params,
        lazy=lazy,
        tower=tower,
        width=params.hidden,
        around=params.embedding_center,
    )
