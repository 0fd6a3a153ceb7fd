"""From the files of a bundle to predictions and recommendations."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mftasks import settings
from mftasks.bundle import arrays
from mftasks.bundle.files import (
    FACTORS,
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
from mftasks.data.arrays import positions
from mftasks.errors import MfError, MissingRecord
from mftasks.factors import Factors
from mftasks.factors.biases import Biases
from mftasks.factors.folding import FoldedIn, Prior, fold_in, measure_prior
from mftasks.store import open_store
from mftasks.store.blobs import verify

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Predict = Callable[[Positions, Positions], Floats]


def load(uri: str | Path, *, s3_endpoint: str | None = None, check: bool = True) -> Bundle:
    """Load the bundle in a local folder, or at a file:// or s3:// URI, and verify its files.

    Without `check`, files are trusted: those of a million users load in milliseconds.

    Raises `MissingRecord` if a file is not there, `ChecksumMismatch` if one was altered.
    """
    text = str(uri)
    store = open_store(
        text.rstrip("/") if "://" in text else Path(text).absolute().as_uri(),
        s3_endpoint=s3_endpoint or settings.read().s3_endpoint,
    )
    with tempfile.TemporaryDirectory(prefix="bundle-") as arriving:
        files = {INDEX: Path(arriving, INDEX)}
        store.download(INDEX, files[INDEX])
        for name in read_index(files[INDEX]).files:
            files[name] = Path(arriving, name)
            store.download(name, files[name])
        return read(files, check=check)


def read(files: Mapping[str, Path], *, check: bool = True) -> Bundle:
    """Read a bundle from a local path for each of its files, after verifying their sha256.

    Its factors are mapped into memory: nothing else may write to their file. MXNet is imported only for a
    bundle that has none.
    """
    index = read_index(files[INDEX])
    for name, promised in index.files.items():
        if name not in files:
            raise MissingRecord(f"the bundle's {name} is not there; it has {', '.join(files)}")
        if check:
            verify(files[name], promised, f"the bundle's {name}")
    tables = _read_tables(files[VOCABULARY], index.header.mean_rating)
    if FACTORS in index.files:
        mapped: dict[str, Any] = arrays.map_file(files[FACTORS])
        factors = Factors(**mapped | {"mu": np.float32(mapped["mu"])})
        return Bundle(index.header, tables, factors.predict, factors)
    from mftasks import mx
    from mftasks.bundle.symbol import import_network

    network = import_network(files[SYMBOL], files[PARAMETERS])
    return Bundle(index.header, tables, functools.partial(mx.predict, network))


def _read_tables(path: Path, mean: float) -> Tables:
    with np.load(path, allow_pickle=False) as found:
        tables = dict(found)
    for side in ("user", "item"):  # bundles of version 0.2 have no biases; they answered with means
        tables.setdefault(f"{side}_biases", tables[f"{side}_means"] - np.float32(mean))
    return Tables(**tables)


class Bundle:
    """An exported network, which predicts the rating of any user for any item.

    `factors` is None for a network that is no inner product of two sides.
    """

    def __init__(
        self, header: Header, tables: Tables, network: Predict, factors: Factors | None = None
    ) -> None:
        self.header = header
        self.tables = tables
        self.factors = factors
        sides = (each.astype(np.float64) for each in (tables.user_biases, tables.item_biases))
        self.biases = Biases(header.mean_rating, *sides)
        self._network = network

    def predict(
        self, user_ids: ArrayLike | FoldedIn, item_ids: ArrayLike, *, clip: bool = True
    ) -> Floats:
        """Return the predicted rating of each pair of ids, float32; one user may meet many items.

        A pair with an id that training has not seen gets the biases alone: the mean rating, and what the
        user or the item that it has seen adds to that.
        """
        items = positions(item_ids, self.tables.item_ids)
        if isinstance(user_ids, FoldedIn):
            predicted = self._predict_row(user_ids)[items.clip(0)]
            predicted[items < 0] = self.header.mean_rating + user_ids.bias
            return self._clip(predicted) if clip else predicted
        users = positions(user_ids, self.tables.user_ids)
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
        if known.all():
            predicted = self._network(users, items)
        else:
            predicted = self.biases.predict(users, items)
            predicted[known] = self._network(users[known], items[known])
        return self._clip(predicted) if clip else predicted

    def recommend(
        self, user_id: int | str | FoldedIn, top: int = 10, *, exclude: Iterable[int | str] = ()
    ) -> list[tuple[int | str, float]]:
        """Return the `top` items for a user with the predicted rating of each, best first.

        A user whom training has not seen gets those of the largest bias.
        """
        scores = self._score_items(user_id)
        without = positions(list(exclude), self.tables.item_ids)
        scores[without[without >= 0]] = -np.inf
        return self._list_best(self._clip(scores.copy()), scores, top)

    def fold_in(self, ratings: Mapping[int | str, float]) -> FoldedIn:
        """Return a user whom training has not seen, from ratings of his by the items' ids.

        `predict` and `recommend` take him in place of an id. Bias and vector are those of a ridge
        regression on the item side, whose prior is the spread of the users whom training has seen. Items
        that it has not seen are passed over. Raises `MfError` for a network without factors.
        """
        factors = self._need_factors()
        items = positions(list(ratings), self.tables.item_ids)
        given = np.array(list(ratings.values()), np.float32)
        return fold_in(factors, self._prior, items[items >= 0], given[items >= 0])

    def similar(self, item_id: int | str, top: int = 10) -> list[tuple[int | str, float]]:
        """Return the `top` other items of the most similar vectors, with the cosine of each.

        An item that training has not seen has none. Raises `MfError` for a network without factors.
        """
        vectors = self._need_factors().item_vectors
        (item,) = positions([item_id], self.tables.item_ids)
        if item < 0:
            return []
        lengths = np.sqrt(np.einsum("ik,ik->i", vectors, vectors))
        cosines = vectors @ vectors[item] / np.maximum(lengths * lengths[item], 1e-30)
        scores = cosines.copy()
        scores[item] = -np.inf
        return self._list_best(cosines, scores, top)

    @functools.cached_property
    def _prior(self) -> Prior:
        rest = self.header.noise
        noise = rest if rest is not None else (self.header.max_rating - self.header.min_rating) / 4
        return measure_prior(self._need_factors(), noise**2)

    def _need_factors(self) -> Factors:
        if self.factors is None:
            raise MfError(
                f"network {self.header.network} has no factors, which this needs; it can only predict "
                "and recommend for users whom training has seen"
            )
        return self.factors

    def _predict_row(self, user: FoldedIn) -> Floats:
        return self._need_factors().predict_row(*user)

    def _score_items(self, user_id: int | str | FoldedIn) -> Floats:
        if isinstance(user_id, FoldedIn):
            return self._predict_row(user_id)
        (user,) = positions([user_id], self.tables.user_ids)
        if user >= 0 and self.factors is not None:
            bias, vector = self.factors.user_bias[user], self.factors.user_vectors[user]
            return self.factors.predict_row(float(bias), vector)
        everything = np.arange(len(self.tables.item_ids), dtype=np.int32)
        return self.predict_at(np.full_like(everything, user), everything, clip=False)

    def _clip(self, predicted: Floats) -> Floats:
        return predicted.clip(self.header.min_rating, self.header.max_rating, out=predicted)

    def _list_best(self, shown: Floats, scores: Floats, top: int) -> list[tuple[int | str, float]]:
        best = _find_largest(scores, top)
        return list(zip(self.tables.item_ids[best].tolist(), shown[best].tolist(), strict=True))


def _find_largest(scores: Floats, top: int) -> NDArray[np.intp]:
    """Return the indices of the `top` finite scores, largest first, ties by index."""
    n = min(top, int(np.isfinite(scores).sum()))
    if n <= 0:
        return np.empty(0, np.intp)
    bound = np.partition(scores, len(scores) - n)[len(scores) - n]
    near = np.flatnonzero(scores >= bound)
    return near[np.argsort(-scores[near], kind="stable")][:n]
