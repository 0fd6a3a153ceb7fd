"""A ratings table: what is in a file of ratings, as compact arrays, row by row.

Ids are encoded: a rating holds the position of its user and of its item among the sorted distinct
ids, whether those are numbers or strings. Nothing is dropped: what is missing in a row is still
missing in the arrays, for `validate` to find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = NDArray[np.int64] | NDArray[np.str_]

MISSING = -(2**63)
"""Stand for a missing integer: an id, or a timestamp. A missing string is empty, a rating NaN."""

# With more possible values than this per row, hashing the ids is cheaper than a table of them all.
_MAX_SPREAD = 16
_FREE_SPREAD = 1_000_000
_BLOCK = 1 << 18
# Batches of strings have dictionaries of their own: so many are merged into one at a time.
_MERGED = 64


class EncodedIds(NamedTuple):
    """Hold one id a rating: `known[codes]`, where `known` is sorted and without duplicates."""

    codes: NDArray[np.int32]
    known: Ids


class RatingsTable(NamedTuple):
    """Ratings in the order of their file; `timestamps` are seconds since 1970, UTC.

    `n_header_lines` is None if the file is not made of lines.
    """

    users: EncodedIds
    items: EncodedIds
    ratings: NDArray[np.float32]
    timestamps: NDArray[np.int64] | None
    n_header_lines: int | None = None

    @property
    def n_ratings(self) -> int:
        """Return how many ratings there are."""
        return len(self.ratings)

    def name_row(self, row: int) -> str:
        """Return where the rating at `row` is in its file, as a message shows it."""
        if self.n_header_lines is None:
            return f"row {row + 1:,}"
        return f"line {row + 1 + self.n_header_lines:,}"

    def pair_keys(self) -> NDArray[np.int64]:
        """Return one number for each rating, equal for equal pairs, ordered by user and item."""
        return self.users.codes.astype("int64") * len(self.items.known) + self.items.codes


def collected(batches: Any) -> dict[str, Any]:
    """Gather batches of `{column: pyarrow array}` into one numpy array a column.

    A batch's memory is given back before the next one is read. Integers take 4 bytes where they
    fit, moments become seconds, and a column of strings stays a pyarrow dictionary array.
    """
    pieces: dict[str, list[Any]] = {}
    for batch in batches:
        for name, column in batch.items():
            waiting = pieces.setdefault(name, [])
            waiting.append(_packed(column))
            if len(waiting) == _MERGED and not _is_numpy(waiting[0]):
                pieces[name] = [_joined(waiting)]
    return {name: _joined(pieces.pop(name)) for name in list(pieces)}


def encoded(column: Any) -> EncodedIds:
    """Encode a column of ids that `collected` gave; integers of 4 bytes are overwritten."""
    return _encoded_integers(column) if _is_numpy(column) else _encoded_strings(column)


def _is_numpy(column: Any) -> bool:
    import numpy as np

    return isinstance(column, np.ndarray)


def _packed(column: Any) -> Any:
    """Return a copy of a pyarrow array as a numpy array, or strings as they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        return column
    if kind == pa.float32():
        return column.fill_null(float("nan")).to_numpy().copy()
    if pa.types.is_timestamp(kind):
        column = pc.divide(column.cast(pa.int64()).cast(pa.float64()), 1e6)
    if pa.types.is_floating(column.type):
        column = pc.floor(column).cast(pa.int64(), safe=False)
    if kind == pa.int64() and not column.null_count and len(column):
        bounds = pc.min_max(column)
        if bounds["min"].as_py() >= -(2**31) and bounds["max"].as_py() < 2**31:
            return column.to_numpy().astype("int32")
    return column.fill_null(MISSING).to_numpy().copy()


def _joined(pieces: list[Any]) -> Any:
    import numpy as np
    import pyarrow as pa

    if _is_numpy(pieces[0]):
        return np.concatenate(pieces)
    return pa.chunked_array(pieces).unify_dictionaries().combine_chunks()


def _encoded_integers(values: NDArray[Any]) -> EncodedIds:
    """Encode by a table of all values between the least and the greatest, where that is short."""
    import numpy as np

    low, high = int(values.min()), int(values.max())
    if values.dtype != np.int32 or high - low > _MAX_SPREAD * len(values) + _FREE_SPREAD:
        return _encoded_sparse(values.astype(np.int64, copy=False))
    present = np.zeros(high - low + 1, bool)
    blocks = [values[start : start + _BLOCK] for start in range(0, len(values), _BLOCK)]
    for block in blocks:
        present[block.astype(np.int64) - low] = True
    places = np.cumsum(present, dtype=np.int32) - np.int32(1)
    for block in blocks:
        block[:] = places[block.astype(np.int64) - low]
    return EncodedIds(values, np.flatnonzero(present) + low)


def _encoded_sparse(values: NDArray[np.int64]) -> EncodedIds:
    import numpy as np
    import pandas as pd

    codes, found = pd.factorize(values)
    order = np.argsort(found)
    places = np.empty(len(found), np.int32)
    places[order] = np.arange(len(found), dtype=np.int32)
    return EncodedIds(places[codes], found[order])


def _encoded_strings(column: Any) -> EncodedIds:
    import numpy as np

    found = column.dictionary.to_numpy(zero_copy_only=False).astype(str)
    indices = column.indices
    if indices.null_count:
        indices = indices.fill_null(len(found))
        found = np.append(found, "")
    known, places = np.unique(found, return_inverse=True)
    return EncodedIds(places.astype(np.int32)[indices.to_numpy()], known)
