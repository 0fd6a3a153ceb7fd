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
    Floats,
    Header,
    Index,
    Positions,
    Tables,
)
from mftasks.mx import mx
from mftasks.store.blobs import sha256_of

if TYPE_CHECKING:
    from mftasks.data.arrays import Part, Vocabulary


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that a bundle's content depends on."""
    return {"mxnet": mx.__version__, "numpy": np.__version__}


def export(folder: Path, block: Any, header: Header, vocabulary: Vocabulary, train: Part) -> None:
    """Write a bundle into the empty `folder`.

    `block` maps users and items to predicted, or to a tuple that begins with it (see
    `mftasks.networks`); `train` gives the means that unknown ids fall back to.
    """
    symbol, parameters = _traced(block)
    (folder / SYMBOL).write_text(symbol)
    mx.nd.save(str(folder / PARAMETERS), parameters)
    np.savez(folder / VOCABULARY, **_tables(vocabulary, train, header.mean_rating)._asdict())
    files = {name: sha256_of(folder / name) for name in FILES if name != INDEX}
    index = Index(format=FORMAT, header=header, files=files)
    (folder / INDEX).write_bytes(msgspec.json.format(msgspec.json.encode(index), indent=1))


def _traced(block: Any) -> tuple[str, dict[str, Any]]:
    """Return the symbol as JSON and the parameters, under names that do not depend on the process.

    Gluon numbers blocks as they are made in a process; we name a parameter by where it sits in the
    network (`users.embedding.weight`), and an operation by its kind and turn.
    """
    traced = block(mx.sym.var("users"), mx.sym.var("items"))
    predicted = traced[0] if isinstance(traced, (tuple, list)) else traced
    where: dict[str, str] = {}
    for name, parameter in block._collect_params_with_prefix().items():  # noqa: SLF001 (no public way)
        where.setdefault(parameter.name, name)
    graph = json.loads(predicted.tojson())
    turns: Counter[str] = Counter()
    for node in graph["nodes"]:
        if node["op"] == "null":
            node["name"] = where.get(node["name"], node["name"])
            for how_trained in ("__init__", "__lr_mult__", "__wd_mult__"):
                node.get("attrs", {}).pop(how_trained, None)
        else:
            turns[node["op"]] += 1
            node["name"] = f"{node['op'].strip('_').lower()}_{turns[node['op']]}"
    kinds = dict.fromkeys(predicted.list_arguments(), "arg")
    kinds |= dict.fromkeys(predicted.list_auxiliary_states(), "aux")
    parameters = {
        f"{kinds[parameter.name]}:{where[parameter.name]}": parameter.list_data()[0]
        for parameter in block.collect_params().values()
        if parameter.name in kinds
    }
    return json.dumps(graph, indent=1) + "\n", parameters


def _tables(vocabulary: Vocabulary, train: Part, mean: float) -> Tables:
    user_means, user_counts = _means(train.users, train.ratings, len(vocabulary.user_ids), mean)
    item_means, item_counts = _means(train.items, train.ratings, len(vocabulary.item_ids), mean)
    return Tables(*vocabulary, user_means, item_means, user_counts, item_counts)


def _means(where: Positions, ratings: Floats, n: int, mean: float) -> tuple[Floats, Positions]:
    counts = np.bincount(where, minlength=n)
    sums = np.bincount(where, weights=ratings, minlength=n)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), mean)
    return means.astype(np.float32), counts.astype(np.int32)
