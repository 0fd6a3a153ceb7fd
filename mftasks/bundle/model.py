"""From the files of a bundle to predictions and recommendations."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mftasks import settings
from mftasks.bundle.files import (
    FILES,
    INDEX,
    PARAMETERS,
    SYMBOL,
    VOCABULARY,
    Floats,
    Header,
    Positions,
    Tables,
    read_index,
)
from mftasks.data.arrays import expected_ratings, positions
from mftasks.errors import MissingRecord
from mftasks.mx import mx, predict
from mftasks.store import open_store
from mftasks.store.blobs import verify

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

DAMPING = 10.0


def load(uri: str | Path, *, s3_endpoint: str | None = None) -> Bundle:
    """Load the bundle in a local folder, or at a file:// or s3:// URI, and verify its files.

    Raises `MissingRecord` if a file is not there, `ChecksumMismatch` if one was altered.
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
    index = read_index(files[INDEX])
    for name, promised in index.files.items():
        if name not in files:
            raise MissingRecord(f"the bundle's {name} is not there; it has {', '.join(files)}")
        verify(files[name], promised, f"the bundle's {name}")
    with np.load(files[VOCABULARY], allow_pickle=False) as arrays:
        tables = Tables(**arrays)
    return Bundle(index.header, tables, _import_network(files[SYMBOL], files[PARAMETERS]))


class Bundle:
    """An exported network, which predicts the rating of any user for any item."""

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

    def knows(self, user_ids: ArrayLike, item_ids: ArrayLike) -> NDArray[np.bool_]:
        """Return for each pair of ids whether training has seen both; `predict` falls back if not."""
        users = positions(user_ids, self.tables.user_ids)
        return (users >= 0) & (positions(item_ids, self.tables.item_ids) >= 0)

    def predict_at(self, users: Positions, items: Positions, *, clip: bool = True) -> Floats:
        """Return the predicted rating of each pair of positions in the vocabulary; -1 is unknown."""
        known = (users >= 0) & (items >= 0)
        means = self.tables.user_means, self.tables.item_means
        predicted = expected_ratings(users, items, *means, self.header.mean_rating)
        predicted[known] = predict(self._network, users[known], items[known])
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
            scores = self._damp_means()
        without = positions(list(exclude), self.tables.item_ids)
        scores[without[without >= 0]] = -np.inf
        best = _find_largest(scores, top)
        shown = scores[best].clip(self.header.min_rating, self.header.max_rating)
        return list(zip(self.tables.item_ids[best].tolist(), shown.tolist(), strict=True))

    def _damp_means(self) -> Floats:
        counts, means = self.tables.item_counts, self.tables.item_means
        sums = means * counts + DAMPING * self.header.mean_rating
        return (sums / (counts + DAMPING)).astype(np.float32)


def _import_network(symbol: Path, parameters: Path) -> Any:
    with warnings.catch_warnings():
        # The inputs' type is free until the first call: int32 positions.
        warnings.filterwarnings("ignore", "Cannot decide type for the following arguments")
        network = mx.gluon.SymbolBlock.imports(str(symbol), ["users", "items"], str(parameters))
    network.collect_params().setattr("grad_req", "null")
    network.hybridize(static_alloc=True)
    return network


def _find_largest(scores: Floats, top: int) -> NDArray[np.intp]:
    """Return the indices of the `top` finite scores, largest first, ties by index."""
    n = min(top, int(np.isfinite(scores).sum()))
    if n <= 0:
        return np.empty(0, np.intp)
    bound = np.partition(scores, len(scores) - n)[len(scores) - n]
    near = np.flatnonzero(scores >= bound)
    return near[np.argsort(-scores[near], kind="stable")][:n]
