from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mftasks import bundle, networks
from mftasks.bundle.export import export
from mftasks.data.arrays import Part, Vocabulary
from mftasks.mx import mx
from mftasks.records import TrainConfig
from mftasks.scoring.baselines import fit_biases

INT_IDS = Vocabulary(np.arange(60) * 3 + 5, np.arange(40) * 2 + 1)
STR_IDS = Vocabulary(
    np.array([f"user-{n:02}" for n in range(60)]), np.array([f"item-{n:02}" for n in range(40)])
)


def make_block(network: str, seed: int = 1) -> Any:
    """Make a network with weights large enough that predictions leave the rating scale."""
    mx.random.seed(seed)
    chosen = networks.load(network)
    made = chosen.build(
        networks.Sizes(60, 40, 3.5), chosen.Params(factors=8, embedding_scale=1.5), lazy=True
    )
    made.initialize()
    made.hybridize(static_alloc=True, static_shape=True)
    return made


def make_header(network: str, train: Part) -> bundle.Header:
    return bundle.Header(
        network=network,
        config=TrainConfig(network=network, params={}, epochs=1, batch_size=9, learning_rate=0.1),
        split_fingerprint="f" * 64,
        n_users=60,
        n_items=40,
        n_ratings=len(train.ratings),
        mean_rating=3.5,
        min_rating=1.0,
        max_rating=5.0,
        code_version="test",
        libraries={},
    )


def export_network(
    folder: Path,
    train: Part,
    network: str = "linear",
    vocabulary: Vocabulary = INT_IDS,
    **how: Any,
) -> Any:
    made = make_block(network)
    folder.mkdir()
    biases = fit_biases(train, None, 60, 40)._replace(mean=3.5)
    export(folder, made, make_header(network, train), vocabulary, train, biases, **how)
    return made
