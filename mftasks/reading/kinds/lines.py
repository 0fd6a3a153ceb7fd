r"""Count the lines of a text file apart from its reader, and know which line a record is on.

A record is a line, unless a quoted cell holds line breaks. The reader's number of records is held
against this count, so no row can vanish in a cell whose quotation mark is never closed. Line numbers
are those that an editor shows: `\n`, `\r\n` and a lone `\r` end a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from mftasks.errors import InvalidDataset
from mftasks.reading.files.unpacking import CHUNK

if TYPE_CHECKING:
    from numpy.typing import NDArray

LooksLikeRow = Callable[[bytes], bool]
"""Decides whether a line within a quoted cell is a row that the cell has swallowed."""

_NEWLINE, _QUOTE = 10, 34
_LONGEST_LINE = 64 << 20


class Lines(NamedTuple):
    """The lines of a text file; `extra` are the numbers, from 0, of those that begin no record.

    They are blank, or lie within a quoted cell that began on an earlier line. `n_cells` counts
    cells of several lines.
    """

    n_lines: int
    extra: NDArray[np.int64]
    n_blank: int = 0
    n_cells: int = 0

    @property
    def n_records(self) -> int:
        """Return how many records there are, the header among them."""
        return self.n_lines - len(self.extra)

    def number(self, record: int) -> int:
        """Return the line, from 1, on which a record, from 0, begins."""
        before = np.searchsorted(self.extra - np.arange(len(self.extra)), record, side="right")
        return record + int(before) + 1


def scan(
    file: BinaryIO, delimiter: bytes, *, quoted: bool, looks_like_row: LooksLikeRow | None = None
) -> Lines:
    """Count the lines of a stream of UTF-8.

    Raises `InvalidDataset` for a quotation mark that is never closed, and for a cell over several
    lines if one of them looks like a row, which is how rows are lost.
    """
    counted = _Scan(delimiter, looks_like_row)
    for text in _read_lines(file):
        if counted.in_cell or (quoted and b'"' in text):
            counted.add_quoted(text)
        else:
            counted.add_plain(text)
    return counted.end()


def _read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the file in chunks of whole lines, each with a line feed at its end."""
    rest = b""
    while data := file.read(CHUNK):
        data = rest + data
        # A `\\r` at the end may be the first half of a line break.
        data, held = (data[:-1], b"\r") if data.endswith(b"\r") else (data, b"")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        cut = data.rfind(b"\n") + 1
        data, rest = data[:cut], data[cut:] + held
        if len(rest) > _LONGEST_LINE:
            raise InvalidDataset("a line is longer than 64 MiB; expected one rating per line")
        if data:
            yield data
    if rest:
        yield rest.replace(b"\r", b"\n") if rest.endswith(b"\r") else rest + b"\n"


class _Scan:
    """The state of a scan between two chunks of lines."""

    def __init__(self, delimiter: bytes, looks_like_row: LooksLikeRow | None) -> None:
        self._delimiter = delimiter
        self._looks_like_row = looks_like_row
        self._n_lines = self._n_blank = self._n_cells = 0
        self._extra: list[NDArray[np.int64]] = []
        self._opened = -1  # the line on which the open cell begins

    @property
    def in_cell(self) -> bool:
        """Return whether the next line begins within a quoted cell."""
        return self._opened >= 0

    def add_plain(self, text: bytes) -> None:
        """Count a chunk of whole lines without quoted cells."""
        breaks = np.frombuffer(text, np.uint8) == _NEWLINE
        if breaks[0] or (breaks[1:] & breaks[:-1]).any():
            ends = np.flatnonzero(breaks)
            self._add_blank(np.flatnonzero(np.diff(ends, prepend=-1) == 1))
        self._n_lines += int(np.count_nonzero(breaks))

    def add_quoted(self, text: bytes) -> None:
        """Count a chunk of whole lines; only those that may begin or end within a cell are walked."""
        ends, special = _find_special(text, self._delimiter)
        blank = np.diff(ends, prepend=-1) == 1
        inside: list[int] = []
        line = 0
        while line < len(ends):
            if not self.in_cell:
                at = np.searchsorted(special, line)
                if at == len(special):
                    break
                line = int(special[at])
            else:
                inside.append(line)
            start = int(ends[line - 1]) + 1 if line else 0
            self._walk(text[start : int(ends[line])], self._n_lines + line)
            line += 1
        blank[inside] = False
        self._add_blank(np.flatnonzero(blank))
        self._extra.append(np.array(inside, np.int64) + self._n_lines)
        self._n_lines += len(ends)

    def _add_blank(self, lines: NDArray[np.int64]) -> None:
        self._n_blank += len(lines)
        self._extra.append(lines + self._n_lines)

    def _walk(self, line: bytes, number: int) -> None:
        if self.in_cell and self._looks_like_row and self._looks_like_row(line):
            raise InvalidDataset(
                f"line {self._opened + 1}: a quotation mark opens a cell that goes on over line "
                f"{number + 1}, which looks like a row of the table and would be lost; remove the mark, "
                'or set format to {"quote": ""} if quotation marks are letters in this file, or to '
                '{"quote": "\\""} if the cell is right'
            )
        opened = _ends_in_cell(line, self._delimiter, self.in_cell)
        if opened and not self.in_cell:
            self._opened = number
            self._n_cells += 1
        elif not opened:
            self._opened = -1

    def end(self) -> Lines:
        """Return the count; raises `InvalidDataset` if a cell is still open."""
        if self.in_cell:
            raise InvalidDataset(
                f"line {self._opened + 1}: a quotation mark opens a cell that is never closed, and "
                f"{self._n_lines - self._opened - 1:,} lines after it would be lost; remove the mark, or "
                'set format to {"quote": ""} if quotation marks are letters in this file'
            )
        extra = np.sort(np.concatenate([np.empty(0, np.int64), *self._extra]))
        return Lines(self._n_lines, extra, self._n_blank, self._n_cells)


def _find_special(text: bytes, delimiter: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each line ends, and which lines may end within a cell if they begin outside one.

    Within a line, every other quotation mark opens a cell, or goes on with it after a doubled mark.
    A line is special if their number is odd, or if one that should open a cell stands in its middle.
    """
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    marks = np.flatnonzero(data == _QUOTE)
    of_line = np.searchsorted(ends, marks)
    first = np.searchsorted(marks, np.concatenate([[0], ends[:-1] + 1]))
    rank = np.arange(len(marks)) - first[of_line]
    before = data[marks - 1]  # of a mark that begins the chunk, its last byte: a line break
    opens_well = (before == _NEWLINE) | (before == delimiter[0]) | ((before == _QUOTE) & (rank > 0))
    odd = np.bincount(of_line, minlength=len(ends)) % 2 == 1
    odd[of_line[(rank % 2 == 0) & ~opens_well]] = True
    return ends, np.flatnonzero(odd)


def _ends_in_cell(line: bytes, delimiter: bytes, in_cell: bool) -> bool:
    """Return whether a quoted cell goes on after `line`; a mark within an unquoted cell is a letter."""
    place = 0
    while True:
        if not in_cell and line.startswith(b'"', place):
            in_cell, place = True, place + 1
        while in_cell:
            mark = line.find(b'"', place)
            if mark < 0:
                return True
            doubled = line.startswith(b'"', mark + 1)
            in_cell, place = doubled, mark + (2 if doubled else 1)
        place = line.find(delimiter, place) + len(delimiter)
        if place < len(delimiter):
            return False
