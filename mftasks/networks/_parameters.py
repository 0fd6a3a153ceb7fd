"""Parameters that several networks have: each is described once, and a network gives its default."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from mftasks.records import Fraction, Width

Factors = Annotated[Width, Meta(description="The length of the embeddings of users and items.")]
Hidden = Annotated[Width, Meta(description="The number of units of the dense layers.")]
Dropout = Annotated[Fraction, Meta(description="The share of units that each batch drops.")]
Biases = Annotated[bool, Meta(description="A bias is learnt for each user and each item.")]
Center = Annotated[
    bool,
    Meta(
        description="Where ratings are not standardized, the difference from their mean is predicted."
    ),
]
EmbeddingScale = Annotated[
    float, Meta(gt=0, le=10, description="Embeddings start evenly within their centre ± this.")
]
DenseScale = Annotated[
    float,
    Meta(ge=0, le=10, description="Dense weights start evenly within ± this; at 0, as Glorot's."),
]
DenseRate = Annotated[
    float,
    Meta(gt=0, le=1000, description="Dense layers learn at this many times the learning rate."),
]
