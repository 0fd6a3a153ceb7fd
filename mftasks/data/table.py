"""A ratings table: what is in a file of ratings, as compact arrays, row by row.

Ids are encoded: a rating holds the position of its user and of its item among the sorted distinct
ids, whether those are numbers or strings. Nothing is dropped: what is missing in a row is still
missing in the arrays, for `validate` to find.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mftasks.errors import InvalidDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Ids

MISSING = -(2**63)
"""Stands for a missing integer: an id, or a timestamp. A missing string is empty, a rating NaN."""

PLAIN_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"
_NO_NUMBER = ["", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "#N/A"]

# With more possible values than this per row, hashing the ids is cheaper than a table of them all.
_MAX_SPREAD = 16
_FREE_SPREAD = 1_000_000

# Batches of strings have dictionaries of their own: so many are merged into one at a time.
_MERGED = 64


class EncodedIds(NamedTuple):
    """The ids of all ratings, `known[codes]`; `known` is sorted and without duplicates."""

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
        return f"line {row + 1 + self.n_header_lines}"

    def pair_keys(self) -> NDArray[np.int64]:
        """Return one number for each rating, equal for equal pairs, ordered by user and item."""
        return self.users.codes.astype(np.int64) * len(self.items.known) + self.items.codes


def collect(batches: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Gather batches of `{column: pyarrow array}` into one numpy array per column.

    A batch's memory is freed before the next one is read. Integers take 4 bytes if they fit,
    moments become seconds, and a column of strings stays a pyarrow dictionary array.
    """
    pieces: dict[str, list[Any]] = {}
    for batch in batches:
        for name, column in batch.items():
            waiting = pieces.setdefault(name, [])
            waiting.append(_pack(column))
            if len(waiting) == _MERGED and not isinstance(waiting[0], np.ndarray):
                pieces[name] = [_join(waiting)]
    return {name: _join(pieces.pop(name)) for name in list(pieces)}


def _pack(column: Any) -> Any:
    """Return a copy of a pyarrow array as a numpy array, or strings as they are."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column
    if kind == pa.float32():
        return column.fill_null(float("nan")).to_numpy().copy()
    if pa.types.is_timestamp(kind):
        column = pc.divide(column.cast(pa.int64()).cast(pa.float64()), 1e6)
    if pa.types.is_floating(column.type):
        column = pc.floor(column).cast(pa.int64(), safe=False)
    values = column.fill_null(MISSING).to_numpy()
    fits = len(values) and values.min() >= -(2**31) and values.max() < 2**31
    return values.astype(np.int32 if fits else np.int64)


def _join(pieces: list[Any]) -> Any:
    if isinstance(pieces[0], np.ndarray):
        return np.concatenate(pieces)
    return pa.chunked_array(pieces).unify_dictionaries().combine_chunks()


def parse_numbers(column: pa.DictionaryArray) -> Any:
    """Return a column of ids as numbers if each is written as one, without leading zeros or signs.

    Otherwise the strings stay as they are, so that no two ids become one.
    """
    words = column.dictionary.to_numpy(zero_copy_only=False).astype(str)
    missing = np.isin(words, _NO_NUMBER)
    plain = pc.match_substring_regex(column.dictionary, PLAIN_NUMBER).to_numpy(zero_copy_only=False)
    if not plain.any() or not (plain | missing).all():
        return column
    numbers = np.full(len(words) + 1, MISSING)  # the last one stands for null
    numbers[:-1][plain] = words[plain].astype(np.int64)
    return numbers[column.indices.fill_null(len(words)).to_numpy()]


def encode(column: Any) -> EncodedIds:
    """Encode a column of ids that `collect` returned."""
    if isinstance(column, np.ndarray):
        return _encode_integers(column)
    if pc.any(pc.match_substring(column.dictionary, "\0")).as_py():
        raise InvalidDataset("an id holds the character NUL; expected text without it")
    found, codes = column.dictionary.to_numpy(zero_copy_only=False).astype(str), column.indices
    if codes.null_count:
        found, codes = np.append(found, ""), codes.fill_null(len(found))
    known, places = np.unique(found, return_inverse=True)
    return EncodedIds(places.astype(np.int32)[codes.to_numpy()], known)


def _encode_integers(values: NDArray[Any]) -> EncodedIds:
    """Encode by a table of all values from the least to the greatest, unless it would be long."""
    low, high = int(values.min()), int(values.max())
    if high - low > _MAX_SPREAD * len(values) + _FREE_SPREAD:
        codes, known = pd.factorize(values, sort=True)
        return EncodedIds(codes.astype(np.int32), known.astype(np.int64))
    offsets = values - low
    present = np.zeros(high - low + 1, bool)
    present[offsets] = True
    places = np.cumsum(present, dtype=np.int32) - np.int32(1)
    return EncodedIds(places[offsets], np.flatnonzero(present) + low)
