"""A ratings table: what is in a file of ratings, as compact arrays, row by row.

Ids are encoded: a rating holds the position of its user and of its item among the sorted distinct
ids, whether those are numbers or strings. Nothing is dropped: what is missing in a row is still
missing in the arrays, for `validate` to find.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from mftasks.errors import InvalidDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Ids

MISSING = -(2**63)
"""Stands for a missing integer: an id, or a timestamp. A missing string is empty, a rating NaN."""

LONGEST_ID = 255
"""Ids are kept in arrays of fixed width: a longer one would make all others as long."""

_PLAIN_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,14})\.0*$"
_NO_NUMBER = ["", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "#N/A"]


class EncodedIds(NamedTuple):
    """The ids of all ratings, `known[codes]`; `known` is sorted and without duplicates."""

    codes: NDArray[np.int32]
    known: Ids


def name_row(place: int) -> str:
    """Return what a message calls a row of a file that is not made of lines; it counts from 0."""
    return f"row {place + 1:,}"


class RatingsTable(NamedTuple):
    """Ratings in the order of their file; `timestamps` are seconds since 1970, UTC.

    `places` are the places of the ratings among the rows of the file, if some of these were left
    out, and `name_place` returns what a message calls one, such as `line 6`.
    """

    users: EncodedIds
    items: EncodedIds
    ratings: NDArray[np.float32]
    timestamps: NDArray[np.int64] | None
    places: NDArray[np.int64] | None = None
    name_place: Callable[[int], str] = name_row

    @property
    def n_ratings(self) -> int:
        """Return how many ratings there are."""
        return len(self.ratings)

    def name_row(self, row: int) -> str:
        """Return where the rating at `row` is in its file, as a message shows it."""
        return self.name_place(row if self.places is None else int(self.places[row]))

    def take(self, chosen: NDArray[Any]) -> RatingsTable:
        """Return the table of the rows that a mask or their numbers choose; all ids stay known."""
        places = np.arange(self.n_ratings) if self.places is None else self.places
        return self._replace(
            users=self.users._replace(codes=self.users.codes[chosen]),
            items=self.items._replace(codes=self.items.codes[chosen]),
            ratings=self.ratings[chosen],
            timestamps=None if self.timestamps is None else self.timestamps[chosen],
            places=places[chosen],
        )

    def pair_keys(self) -> NDArray[np.int64]:
        """Return one number for each rating, equal for equal pairs, ordered by user and item."""
        return self.users.codes.astype(np.int64) * len(self.items.known) + self.items.codes


def encode(column: Any, *, words_may_be_numbers: bool = False) -> EncodedIds:
    """Encode a column of pyarrow's, of integers or strings.

    Strings become numbers if they may, and if each is written as one, without leading zeros or
    signs; a whole number with a decimal point, as `1.0`, counts as one. Otherwise they stay as they
    are, so that no two ids become one. Raises `InvalidDataset` for ids that no array can hold.
    """
    found = column.dictionary_encode().unify_dictionaries().combine_chunks()
    ids = found.dictionary.to_numpy(zero_copy_only=False)
    if ids.dtype == object:
        _refuse_unfit(found.dictionary)
        ids = ids.astype(str)
        ids = _parse_numbers(ids) if words_may_be_numbers else ids
    codes = found.indices
    if codes.null_count:
        codes = codes.fill_null(len(ids))
        ids = np.append(ids, MISSING if ids.dtype.kind == "i" else "")
    known, places = np.unique(ids, return_inverse=True)
    return compact(EncodedIds(places.astype(np.int32)[codes.to_numpy()], known))


def compact(ids: EncodedIds) -> EncodedIds:
    """Return the same ids without known ones that no rating has."""
    used = np.zeros(len(ids.known), bool)
    used[ids.codes] = True
    if used.all():
        return ids
    places = np.cumsum(used, dtype=np.int32) - 1
    return EncodedIds(places[ids.codes].astype(np.int32), ids.known[used])


def find_plain_numbers(words: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which words are numbers as programs write them; `007` and `0x10` are none."""
    return np.array([bool(_PLAIN_NUMBER.fullmatch(word)) for word in words.tolist()], bool)


def _refuse_unfit(words: Any) -> None:
    if pc.any(pc.match_substring(words, "\0")).as_py():
        raise InvalidDataset("an id holds the character NUL; expected text without it")
    lengths = pc.utf8_length(words)
    longest = pc.max(lengths).as_py() or 0
    if longest > LONGEST_ID:
        example = words.filter(pc.equal(lengths, longest))[0].as_py()
        raise InvalidDataset(
            f"an id has {longest:,} letters: {example[:40]!r}…; an id may have {LONGEST_ID}, so either "
            "another column holds the ids, or a quotation mark is not closed"
        )


def _parse_numbers(words: NDArray[np.str_]) -> Ids:
    plain = find_plain_numbers(words)
    numeric = words
    if not plain.all() and (whole := _fold_whole(words)) is not None:
        numeric, plain = whole, find_plain_numbers(whole)
    if not plain.any() or not (plain | np.isin(numeric, _NO_NUMBER)).all():
        return words
    numbers = np.full(len(words), MISSING)
    numbers[plain] = numeric[plain].astype(np.int64)
    return numbers


def _fold_whole(words: NDArray[np.str_]) -> NDArray[np.str_] | None:
    """Return words without `.0` at their end, or None if there is none."""
    folded = np.array([re.sub(_WHOLE_NUMBER, r"\1", word) for word in words.tolist()], str)
    return None if (folded == words).all() else folded
