"""Ratings as arrays: the parts of a split, the vocabulary of ids, and both as npz files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Ids = NDArray[np.int64] | NDArray[np.str_]


DIGITS = 16  # so many are whole numbers in double precision too


class Part(NamedTuple):
    """Ratings of one part.

    `users` and `items` are int32 positions in the vocabulary. An id that the train part lacks is a
    negative number, another one for each: its users can still be told apart.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32]


class Vocabulary(NamedTuple):
    """The sorted ids of the train part, int64 or str; a position in it is an embedding row."""

    user_ids: Ids
    item_ids: Ids


def positions(ids: Any, known: Ids) -> NDArray[np.int32]:
    """Return the position of each of `ids` in the sorted `known`, -1 where it is not there.

    Ids may be given as words where the known ones are numbers, and the other way round.
    """
    import numpy as np

    wanted = np.asarray(ids)
    wanted = wanted.astype(str) if known.dtype.kind == "U" else _numbers(wanted)
    found = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[found] == wanted, found, -1).astype(np.int32)


def _numbers(ids: NDArray[Any]) -> NDArray[Any]:
    """Return ids as numbers; words that are none become NaN, which equals no id."""
    import numpy as np

    if ids.dtype.kind not in "UO":
        return ids
    words = ids.astype(str)
    numeric = np.char.isdecimal(words) & (np.char.str_len(words) < DIGITS)
    if numeric.all():
        return words.astype(np.int64)
    return np.where(numeric, np.where(numeric, words, "0").astype(np.int64), np.nan)


def to_npz(arrays: Part | Vocabulary) -> bytes:
    """Return the arrays as the bytes of an uncompressed npz file, the same for the same arrays."""
    import numpy as np

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
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
