"""From a trained block to the files of a bundle."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mftasks.bundle import arrays
from mftasks.bundle.files import (
    FACTORS,
    FILES,
    FORMAT,
    INDEX,
    PARAMETERS,
    SYMBOL,
    VOCABULARY,
    Header,
    Index,
    Tables,
)
from mftasks.bundle.symbol import Exported, import_network, trace
from mftasks.data.arrays import mean_ratings
from mftasks.factors import convert
from mftasks.factors.units import AS_RATED
from mftasks.mx import mx, predict
from mftasks.store.blobs import sha256_of
from mftasks.version import code_version

if TYPE_CHECKING:
    from mftasks.data.arrays import Part, Vocabulary
    from mftasks.factors import Factors
    from mftasks.factors.biases import Biases
    from mftasks.factors.units import Unit
    from mftasks.records import SplitRef, TrainConfig

log = logging.getLogger(__name__)

PROBES = 1 << 16
TOLERANCE = 1e-5  # of the scale


def make_header(
    config: TrainConfig,
    split: SplitRef,
    vocabulary: Vocabulary,
    n_ratings: int,
    noise: float | None = None,
) -> Header:
    """Return the header of a network that this code trained on `n_ratings` of a split."""
    return Header(
        network=config.network,
        config=config,
        split_fingerprint=split.fingerprint,
        n_users=len(vocabulary.user_ids),
        n_items=len(vocabulary.item_ids),
        n_ratings=n_ratings,
        mean_rating=split.mean_rating,
        min_rating=split.min_rating,
        max_rating=split.max_rating,
        noise=noise,
        code_version=code_version(),
        libraries={"mxnet": mx.__version__, "numpy": np.__version__},
    )


def export(
    folder: Path,
    block: Any,
    header: Header,
    vocabulary: Vocabulary,
    train: Part,
    biases: Biases,
    *,
    unit: Unit = AS_RATED,
    share: float = 1.0,
) -> None:
    """Write a bundle into the empty `folder`.

    `block` maps users and items to what it counts in `unit`, or to a tuple that begins with it (see
    `mftasks.networks`). It has a `share` of what the bundle predicts, and `biases` have the rest; pairs
    with an unknown id get these alone.
    """
    symbol, parameters = trace(Exported(block, unit, share, biases))
    (folder / SYMBOL).write_text(symbol)
    mx.nd.save(str(folder / PARAMETERS), parameters)
    tables = _make_tables(vocabulary, train, biases)
    np.savez(folder / VOCABULARY, **tables._asdict())
    if hasattr(block, "factors"):
        factors = convert(block.factors(), unit, share, biases)
        if _is_equal(factors, folder, header):
            arrays.write(folder / FACTORS, factors._asdict())
    files = {
        name: sha256_of(folder / name)
        for name in FILES
        if name != INDEX and (folder / name).exists()
    }
    index = Index(format=FORMAT, header=header, files=files)
    (folder / INDEX).write_bytes(msgspec.json.format(msgspec.json.encode(index), indent=1))


def _is_equal(factors: Factors, folder: Path, header: Header) -> bool:
    """Return whether factors predict what the exported symbol does, on pairs drawn at random."""
    random = np.random.default_rng(0)
    users, items = (
        random.integers(0, n, PROBES, dtype=np.int32) for n in (header.n_users, header.n_items)
    )
    network = import_network(folder / SYMBOL, folder / PARAMETERS)
    expected = predict(network, users, items)
    off = float(np.abs(factors.predict(users, items) - expected).max())
    scale = max(header.max_rating - header.min_rating, float(np.abs(expected).max()))
    if off <= TOLERANCE * scale:
        return True
    log.warning(
        "network %s predicts other ratings than its factors() do, by up to %.2g; its bundle has "
        "none, and needs MXNet to predict",
        *(header.network, off),
    )
    return False


def _make_tables(vocabulary: Vocabulary, train: Part, biases: Biases) -> Tables:
    n_users, n_items = len(vocabulary.user_ids), len(vocabulary.item_ids)
    user_means, user_counts = mean_ratings(train.users, train.ratings, n_users, biases.mean)
    item_means, item_counts = mean_ratings(train.items, train.ratings, n_items, biases.mean)
    of_users, of_items = (side.astype(np.float32) for side in (biases.users, biases.items))
    return Tables(*vocabulary, user_means, item_means, user_counts, item_counts, of_users, of_items)
