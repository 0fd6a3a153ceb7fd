"""An exported network with all that predicting needs, as files that anybody can check.

model-symbol.json    MXNet's symbol: (users, items) positions → predicted
model-0000.params    its parameters and constant tables
vocabulary.npz       ids in the order of their positions, mean and number of ratings of each
bundle.json          what was trained on what (`Header`), and the sha256 of the other three

    from mftasks import bundle
    bundle.load("s3://movielens/runs/nightly/mlp/bundle").predict([196, 22], [242, 377])

No file holds a time or a host: equal trainings give equal bytes.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mftasks import settings
from mftasks.blobs import sha256_of
from mftasks.errors import ChecksumMismatch, InvalidDataset, InvalidPlan, MissingRecord
from mftasks.mx import mx
from mftasks.ratings import positions
from mftasks.records import Count, Record, TrainConfig
from mftasks.store import open_store

if TYPE_CHECKING:
    from mftasks.ratings import Ids, Part, Vocabulary

SYMBOL = "model-symbol.json"
PARAMETERS = "model-0000.params"
VOCABULARY = "vocabulary.npz"
INDEX = "bundle.json"
FILES = {
    SYMBOL: "application/json",
    PARAMETERS: "application/octet-stream",
    VOCABULARY: "application/octet-stream",
    INDEX: "application/json",
}

FORMAT = 1
CHUNK = 1 << 16
DAMPING = 10.0
Floats = NDArray[np.float32]
Positions = NDArray[np.int32]


class Header(Record, frozen=True, kw_only=True):
    """Say what a bundle is: which network, trained how, on which split, by which code."""

    network: str
    config: TrainConfig
    split_fingerprint: str
    n_users: Count
    n_items: Count
    n_ratings: Count
    mean_rating: float
    min_rating: float
    max_rating: float
    code_version: str
    libraries: dict[str, str]


class Index(Record, frozen=True, kw_only=True):
    """Hold the content of bundle.json; `files` maps each other file to its sha256."""

    format: int
    header: Header
    files: dict[str, str]


class Tables(NamedTuple):
    """Hold, by position, ids and what is known of each user and item without any network."""

    user_ids: Ids
    item_ids: Ids
    user_means: Floats
    item_means: Floats
    user_counts: Positions
    item_counts: Positions


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


def load(uri: str | Path, *, s3_endpoint: str | None = None) -> Bundle:
    """Load the bundle in a local folder, or at a file:// or s3:// URI, and verify its files.

    Raises `MissingRecord` where a file is not there, `ChecksumMismatch` where one was altered.
    """
    text = str(uri)
    store = open_store(
        text.rstrip("/") if "://" in text else Path(text).absolute().as_uri(),
        s3_endpoint=s3_endpoint or settings.read().s3_endpoint,
    )
    with tempfile.TemporaryDirectory(prefix="bundle-") as arriving:
        files = {name: Path(arriving, name) for name in FILES}
        for name, path in files.items():
            store.download(name, path)
        return read(files)


def read(files: Mapping[str, Path]) -> Bundle:
    """Read a bundle from a local path for each of its `FILES`, after verifying their sha256."""
    index = _index(files[INDEX])
    for name, promised in index.files.items():
        if name not in files:
            raise MissingRecord(f"the bundle's {name} is not there; it has {', '.join(files)}")
        if (found := sha256_of(files[name])) != promised:
            raise ChecksumMismatch(f"{name} has sha256 {found}, but bundle.json says {promised}")
    with np.load(files[VOCABULARY], allow_pickle=False) as arrays:
        tables = Tables(**arrays)
    return Bundle(index.header, tables, _imported(files[SYMBOL], files[PARAMETERS]))


class Bundle:
    """Predict ratings with an exported network, whatever user and item are asked for."""

    def __init__(self, header: Header, tables: Tables, network: Any) -> None:
        self.header = header
        self.tables = tables
        self._network = network

    def predict(self, user_ids: ArrayLike, item_ids: ArrayLike, *, clip: bool = True) -> Floats:
        """Return the predicted rating of each pair of ids, float32; one user may meet many items.

        Unknown ids fall back to what is known: the item's mean rating for a user whom training has
        not seen, the user's mean for such an item, and the mean of all ratings for both.
        """
        users = positions(user_ids, self.tables.user_ids)
        items = positions(item_ids, self.tables.item_ids)
        shape = np.broadcast_shapes(users.shape, items.shape)
        pairs = (np.broadcast_to(side, shape).ravel() for side in (users, items))
        return self.predict_at(*pairs, clip=clip).reshape(shape)

    def predict_at(self, users: Positions, items: Positions, *, clip: bool = True) -> Floats:
        """Return the predicted rating of each pair of positions in the vocabulary; -1 is unknown."""
        known = (users >= 0) & (items >= 0)
        predicted = np.full(users.shape, self.header.mean_rating, np.float32)
        for seen, means, side in (
            (items >= 0, self.tables.item_means, items),
            (users >= 0, self.tables.user_means, users),
        ):
            predicted[seen & ~known] = means[side[seen & ~known]]
        predicted[known] = self._forward(users[known], items[known])
        if clip:
            predicted.clip(self.header.min_rating, self.header.max_rating, out=predicted)
        return predicted

    def recommend(
        self, user_id: int | str, top: int = 10, *, exclude: Iterable[int | str] = ()
    ) -> list[tuple[int | str, float]]:
        """Return the `top` items for a user with the predicted rating of each, best first.

        A user whom training has not seen gets the items of the best mean, damped by `DAMPING`
        ratings of the overall mean so that one enthusiast does not decide.
        """
        everything = np.arange(len(self.tables.item_ids), dtype=np.int32)
        (user,) = positions([user_id], self.tables.user_ids)
        if user >= 0:
            scores = self.predict_at(np.full_like(everything, user), everything, clip=False)
        else:
            scores = self._damped_means()
        without = positions(list(exclude), self.tables.item_ids)
        scores[without[without >= 0]] = -np.inf
        best = _largest(scores, top)
        shown = scores[best].clip(self.header.min_rating, self.header.max_rating)
        return list(zip(self.tables.item_ids[best].tolist(), shown.tolist(), strict=True))

    def _forward(self, users: Positions, items: Positions) -> Floats:
        predicted = np.empty(len(users), np.float32)
        for start in range(0, len(users), CHUNK):
            chunk = slice(start, start + CHUNK)
            sides = (mx.nd.array(side[chunk], dtype="int32") for side in (users, items))
            predicted[chunk] = self._network(*sides).asnumpy()
        return predicted

    def _damped_means(self) -> Floats:
        counts, means = self.tables.item_counts, self.tables.item_means
        sums = means * counts + DAMPING * self.header.mean_rating
        return (sums / (counts + DAMPING)).astype(np.float32)


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


def _index(path: Path) -> Index:
    try:
        index = msgspec.json.decode(path.read_bytes(), type=Index)
    except msgspec.DecodeError as error:
        raise InvalidDataset(f"bundle.json is not that of a bundle: {error}") from error
    if index.format != FORMAT:
        raise InvalidPlan(f"the bundle has format {index.format}; this code reads {FORMAT}")
    return index


def _imported(symbol: Path, parameters: Path) -> Any:
    with warnings.catch_warnings():
        # The inputs' type is free until the first call: int32 positions.
        warnings.filterwarnings("ignore", "Cannot decide type for the following arguments")
        network = mx.gluon.SymbolBlock.imports(str(symbol), ["users", "items"], str(parameters))
    network.collect_params().setattr("grad_req", "null")
    network.hybridize(static_alloc=True)
    return network


def _largest(scores: Floats, top: int) -> NDArray[np.intp]:
    """Return the indices of the `top` finite scores, largest first, ties by index."""
    n = min(top, int(np.isfinite(scores).sum()))
    if n <= 0:
        return np.empty(0, np.intp)
    bound = np.partition(scores, len(scores) - n)[len(scores) - n]
    near = np.flatnonzero(scores >= bound)
    return near[np.argsort(-scores[near], kind="stable")][:n]
