"""A ratings table: what is in a file of ratings, as compact arrays, row by row.

Ids are encoded: a rating holds the position of its user and of its item among the sorted distinct
ids, whether those are numbers or strings. Nothing is dropped: what is missing in a row is still
missing in the arrays, for `validate` to find.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from mftasks.errors import InvalidDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Ids

MISSING = -(2**63)
"""Stands for a missing integer: an id, or a timestamp. A missing string is empty, a rating NaN."""

_PLAIN_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NO_NUMBER = ["", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "#N/A"]


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


def encode(column: Any, *, words_may_be_numbers: bool = False) -> EncodedIds:
    """Encode a column of pyarrow's, of integers or strings.

    Strings become numbers if they may, and if each is written as one, without leading zeros or
    signs; otherwise they stay as they are, so that no two ids become one.
    """
    found = column.dictionary_encode().unify_dictionaries().combine_chunks()
    ids = found.dictionary.to_numpy(zero_copy_only=False)
    if ids.dtype == object:
        if pc.any(pc.match_substring(found.dictionary, "\0")).as_py():
            raise InvalidDataset("an id holds the character NUL; expected text without it")
        ids = ids.astype(str)
        ids = _parse_numbers(ids) if words_may_be_numbers else ids
    codes = found.indices
    if codes.null_count:
        codes = codes.fill_null(len(ids))
        ids = np.append(ids, MISSING if ids.dtype.kind == "i" else "")
    known, places = np.unique(ids, return_inverse=True)
    return EncodedIds(places.astype(np.int32)[codes.to_numpy()], known)


def find_plain_numbers(words: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which words are numbers as programs write them; `007` and `0x10` are none."""
    return np.array([bool(_PLAIN_NUMBER.fullmatch(word)) for word in words.tolist()], bool)


def _parse_numbers(words: NDArray[np.str_]) -> Ids:
    plain = find_plain_numbers(words)
    if not plain.any() or not (plain | np.isin(words, _NO_NUMBER)).all():
        return words
    numbers = np.full(len(words), MISSING)
    numbers[plain] = words[plain].astype(np.int64)
    return numbers
