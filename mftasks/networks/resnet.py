"""The ResNet: `r̂ = μ + b_u + b_i + ⟨f(p_u), g(q_i)⟩` with two residual layers in each of f and g.

`f = layer ∘ dropout ∘ layer` with `layer(x) = x + V dropout(relu(W x + c)) + d`, after He, Zhang, Ren
and Sun, "Deep residual learning for image recognition" (2016). The notebook's network has neither μ
nor b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mftasks.networks import NOTEBOOK
from mftasks.networks import _parameters as shared
from mftasks.records import TrainConfig

if TYPE_CHECKING:
    from mftasks.networks import Sizes


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shapes the network.

    Dense layers learn slowly: few ratings fit them to noise as fast as embeddings learn what is
    there.
    """

    factors: shared.Factors = 64
    hidden: shared.Hidden = 64
    dropout: shared.Dropout = 0.4
    biases: shared.Biases = True
    center: shared.Center = True
    embedding_scale: shared.EmbeddingScale = 0.03
    dense_scale: shared.DenseScale = 0.05
    dense_rate: shared.DenseRate = 0.01


PRESETS = {
    "default": TrainConfig(
        network="resnet",
        params={},
        epochs=12,
        batch_size=1000,
        learning_rate=0.008,
        schedule="cosine",
        l2=0.08,
        patience=4,
    ),
    "notebook": TrainConfig(
        network="resnet",
        params={
            "biases": False,
            "center": False,
            "dropout": 0.5,
            "embedding_scale": 0.01,
            "dense_scale": 0.01,
            "dense_rate": 1.0,
        },
        epochs=25,
        batch_size=200,
        **NOTEBOOK,
    ),
}


def build(sizes: Sizes, params: Params, *, lazy: bool) -> Any:
    """Make the network, not yet initialized."""
    from mftasks.mx import gluon
    from mftasks.networks._sides import Residual, Sides, make_dense, make_sequence

    def layer() -> Any:
        return Residual(
            make_sequence(
                make_dense(params.factors, params.hidden, params),
                gluon.nn.Activation("relu"),
                gluon.nn.Dropout(params.dropout),
                make_dense(params.hidden, params.factors, params),
            )
        )

    def tower() -> Any:
        return make_sequence(layer(), gluon.nn.Dropout(params.dropout), layer())

    return Sides(sizes, params, lazy=lazy, tower=tower)
