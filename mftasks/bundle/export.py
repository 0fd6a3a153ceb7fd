"""From a trained block to the files of a bundle."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mftasks.bundle.files import (
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
from mftasks.data.arrays import mean_ratings
from mftasks.mx import mx
from mftasks.store.blobs import sha256_of
from mftasks.version import code_version

if TYPE_CHECKING:
    from mftasks.data.arrays import Part, Vocabulary
    from mftasks.records import SplitRef, TrainConfig


def make_header(
    config: TrainConfig, split: SplitRef, vocabulary: Vocabulary, n_ratings: int
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
        code_version=code_version(),
        libraries={"mxnet": mx.__version__, "numpy": np.__version__},
    )


def export(folder: Path, block: Any, header: Header, vocabulary: Vocabulary, train: Part) -> None:
    """Write a bundle into the empty `folder`.

    `block` maps users and items to predicted, or to a tuple that begins with it (see
    `mftasks.networks`); `train` gives the means that unknown ids fall back to.
    """
    symbol, parameters = _trace(block)
    (folder / SYMBOL).write_text(symbol)
    mx.nd.save(str(folder / PARAMETERS), parameters)
    np.savez(folder / VOCABULARY, **_make_tables(vocabulary, train, header.mean_rating)._asdict())
    files = {name: sha256_of(folder / name) for name in FILES if name != INDEX}
    index = Index(format=FORMAT, header=header, files=files)
    (folder / INDEX).write_bytes(msgspec.json.format(msgspec.json.encode(index), indent=1))


def _trace(block: Any) -> tuple[str, dict[str, Any]]:
    """Return the symbol as JSON and the parameters, under names that do not depend on the process.

    Gluon numbers blocks as they are made in a process; we name a parameter by where it sits in the
    network (`users.embedding.weight`), and an operation by its kind and turn.
    """
    traced = block(mx.sym.var("users"), mx.sym.var("items"))
    predicted = traced[0] if isinstance(traced, (tuple, list)) else traced
    places: dict[str, str] = {}
    for name, parameter in block._collect_params_with_prefix().items():  # noqa: SLF001 (no public way)
        places.setdefault(parameter.name, name)
    graph = json.loads(predicted.tojson())
    turns: Counter[str] = Counter()
    for node in graph["nodes"]:
        if node["op"] == "null":
            node["name"] = places.get(node["name"], node["name"])
            for how_trained in ("__init__", "__lr_mult__", "__wd_mult__"):
                node.get("attrs", {}).pop(how_trained, None)
        else:
            turns[node["op"]] += 1
            node["name"] = f"{node['op'].strip('_').lower()}_{turns[node['op']]}"
    kinds = dict.fromkeys(predicted.list_arguments(), "arg")
    kinds |= dict.fromkeys(predicted.list_auxiliary_states(), "aux")
    parameters = {
        f"{kinds[parameter.name]}:{places[parameter.name]}": parameter.list_data()[0]
        for parameter in block.collect_params().values()
        if parameter.name in kinds
    }
    return json.dumps(graph, indent=1) + "\n", parameters


def _make_tables(vocabulary: Vocabulary, train: Part, mean: float) -> Tables:
    n_users, n_items = len(vocabulary.user_ids), len(vocabulary.item_ids)
    user_means, user_counts = mean_ratings(train.users, train.ratings, n_users, mean)
    item_means, item_counts = mean_ratings(train.items, train.ratings, n_items, mean)
    return Tables(*vocabulary, user_means, item_means, user_counts, item_counts)
