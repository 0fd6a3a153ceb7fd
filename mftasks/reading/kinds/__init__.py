"""What each kind of file gives: columns of ratings, and what could not be read of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mftasks.data.table import name_row
from mftasks.errors import InvalidDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.records import Column

MOST_SHOWN = 10


class Unreadable(NamedTuple):
    """Rows that could not be read: how many, and the first ten as `line 5: rating 'abc'`."""

    n_rows: int = 0
    examples: tuple[str, ...] = ()

    def __add__(self, other: object) -> Unreadable:
        """Return both together."""
        assert isinstance(other, Unreadable)  # noqa: S101 (a type that NamedTuple cannot say)
        examples = (*self.examples, *other.examples)[:MOST_SHOWN]
        return Unreadable(self.n_rows + other.n_rows, examples)


class FilePart(NamedTuple):
    """The rows of one file that could be read.

    `columns` are chunked arrays of pyarrow's by role. `n_rows` counts the rows of the file, and
    `places` are those that were read, if not all; `name_place` returns what a message calls one.
    """

    columns: Mapping[Column, Any]
    n_rows: int
    places: NDArray[np.int64] | None = None
    unreadable: Unreadable = Unreadable()
    name_place: Callable[[int], str] = name_row


@contextlib.contextmanager
def naming(name: str, *, alone: bool) -> Iterator[None]:
    """Let `InvalidDataset` begin with the name of the file, unless there is one file only."""
    try:
        yield
    except InvalidDataset as error:
        if alone:
            raise
        raise InvalidDataset(f"{name}: {error}") from error


def name_places(names: Sequence[str], parts: Sequence[FilePart]) -> Callable[[int], str]:
    """Return a function that names a place among the rows of several files."""
    if len(parts) == 1:
        return parts[0].name_place
    ends = np.cumsum([part.n_rows for part in parts])

    def name(place: int) -> str:
        n = int(np.searchsorted(ends, place, side="right"))
        return f"{parts[n].name_place(place - int(ends[n] - parts[n].n_rows))} of {names[n]}"

    return name


def join_places(parts: Sequence[FilePart]) -> NDArray[np.int64] | None:
    """Return the places among the rows of all files, or None if every row was read."""
    if all(part.places is None for part in parts):
        return None
    places, start = [np.empty(0, np.int64)], 0
    for part in parts:
        places.append(start + (np.arange(part.n_rows) if part.places is None else part.places))
        start += part.n_rows
    return np.concatenate(places)
