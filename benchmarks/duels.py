"""Which of our configurations meets the notebook's, and what the two are measured by.

`changes` are made to our notebook preset of the network. In the duels to the end, network, batch size
and number of epochs are the notebook's own, and only optimizer and schedule are ours. In those to
the notebook's best RMSE, any configuration of that network will do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

EPOCHS = {"linear": 25, "mlp": 20, "resnet": 25}
QUICK_EPOCHS = {"linear": 8, "mlp": 6, "resnet": 8}


class Duel(NamedTuple):
    """`changes` against the notebook: over `epochs` of both, or to its best RMSE if None."""

    name: str
    network: str
    epochs: int | None
    changes: dict[str, Any]


LAZY = {"lazy": True, "weight_decay": 0.0}
QUICKER = {"learning_rate": 0.002, "schedule": "cosine"}
CENTERED = {"biases": True, "center": True, "embedding_scale": 0.03}
DUELS = (
    Duel("linear, same batch size and epochs", "linear", 25, {**LAZY}),
    Duel(
        "MLP, same batch size and epochs",
        "mlp",
        20,
        {
            **LAZY,
            "schedule": "cosine",
            "params": {"embedding_center": 0.4, "dense_scale": 0.0, "dense_rate": 0.2},
        },
    ),
    Duel("ResNet, same batch size, 8 epochs", "resnet", 8, {**LAZY, "epochs": 8}),
    Duel(
        "ResNet without dropout, same batch size, 8 epochs",
        "resnet",
        8,
        {**LAZY, **QUICKER, "epochs": 8, "params": {"dropout": 0.0}},
    ),
    Duel(
        "linear, to the notebook's best RMSE",
        "linear",
        None,
        {**LAZY, "batch_size": 2000, "learning_rate": 0.01, "epochs": 3, "params": CENTERED},
    ),
    Duel(
        "MLP, to the notebook's best RMSE",
        "mlp",
        None,
        {
            **LAZY,
            "batch_size": 1000,
            "learning_rate": 0.005,
            "epochs": 6,
            "l2": 0.03,
            "schedule": "cosine",
            "params": {
                **CENTERED,
                "embedding_center": 0.3,
                "dense_scale": 0.0,
                "dense_rate": 0.5,
            },
        },
    ),
    Duel(
        "ResNet, to the notebook's best RMSE",
        "resnet",
        None,
        {
            **LAZY,
            "batch_size": 2000,
            "learning_rate": 0.015,
            "epochs": 6,
            "l2": 0.09,
            "schedule": "cosine",
            "params": {**CENTERED, "dropout": 0.0, "dense_scale": 0.05, "dense_rate": 0.003},
        },
    ),
)
