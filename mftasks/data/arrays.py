"""Ratings as arrays: the parts of a split, the vocabulary of ids, both as npz files, and mean ratings."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64] | NDArray[np.str_]
Floats = NDArray[np.float32]
Positions = NDArray[np.int32]

NO_ID = -(2**63)


class Part(NamedTuple):
    """Ratings of one part.

    `users` and `items` are positions in the vocabulary. An id that the train part lacks is a negative
    number, a different one for each, so that its users stay distinct.
    """

    users: Positions
    items: Positions
    ratings: Floats


class Vocabulary(NamedTuple):
    """The sorted ids of the train part, int64 or str; a position in it is an embedding row."""

    user_ids: Ids
    item_ids: Ids


def positions(ids: Any, known: Ids) -> Positions:
    """Return the position of each of `ids` in the sorted `known`, -1 if it is not there.

    Ids may be given as words if the known ones are numbers, and the other way round.
    """
    wanted = np.asarray(ids)
    wanted = wanted.astype(str) if known.dtype.kind == "U" else _to_numbers(wanted)
    found = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[found] == wanted, found, -1).astype(np.int32)


def _to_numbers(ids: NDArray[Any]) -> NDArray[Any]:
    """Return ids as numbers; a word that is none, as files write numbers, becomes `NO_ID`."""
    if ids.dtype.kind not in "UO":
        return ids
    words = ids.astype(str)
    numbers = [_to_number(word) for word in words.ravel().tolist()]
    return np.array(numbers, np.int64).reshape(words.shape)


def _to_number(word: str) -> int:
    try:
        number = int(word)
    except ValueError:
        return NO_ID
    return number if str(number) == word and abs(number) < 2**63 else NO_ID


def to_npz(arrays: Part | Vocabulary) -> bytes:
    """Return the arrays as the bytes of an uncompressed npz file, the same for the same arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays._asdict())
    return buffer.getvalue()


def read_part(path: Path) -> Part:
    """Read a part of a split that `to_npz` wrote."""
    return Part(**_read(path))


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary that `to_npz` wrote."""
    return Vocabulary(**_read(path))


def _read(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def mean_ratings(
    positions: Positions, ratings: Floats, n: int, overall: float
) -> tuple[Floats, Positions]:
    """Return the mean rating of each of `n` users or items, and how many ratings it has.

    `positions` has the user or the item of each rating; one without ratings gets the `overall` mean.
    """
    counts = np.bincount(positions, minlength=n)
    sums = np.bincount(positions, weights=ratings, minlength=n)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
    return means.astype(np.float32), counts.astype(np.int32)
