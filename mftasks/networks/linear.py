"""The linear network: `r̂ = μ + b_u + b_i + ⟨p_u, q_i⟩`.

Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems" (2009); the
notebook's has neither μ nor b.
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
    """What shapes the network."""

    factors: shared.Factors = 64
    biases: shared.Biases = True
    center: shared.Center = True
    embedding_scale: shared.EmbeddingScale = 0.03


PRESETS = {
    "default": TrainConfig(
        network="linear",
        params={},
        epochs=10,
        batch_size=1000,
        learning_rate=0.008,
        schedule="cosine",
        l2=0.11,
        patience=4,
    ),
    "notebook": TrainConfig(
        network="linear",
        params={"biases": False, "center": False, "embedding_scale": 0.01},
        epochs=25,
        batch_size=100,
        **NOTEBOOK,
    ),
}


def build(sizes: Sizes, params: Params, *, lazy: bool) -> Any:
    """Make the network, not yet initialized."""
    from mftasks.networks._sides import Sides

    return Sides(sizes, params, lazy=lazy)
