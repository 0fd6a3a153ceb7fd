"""How a text file is written: delimiter, header and decimal sign, by its first lines."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mftasks.errors import InvalidDataset, quote
from mftasks.reading import columns
from mftasks.records import Layout

if TYPE_CHECKING:
    from mftasks.reading.files.encodings import Encoding
    from mftasks.reading.files.first_bytes import Container
    from mftasks.records import FileFormat

DELIMITERS = ("\t", "::", ";", "|", ",", " ")
WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}
FEWEST, WIDE = 3, 8
"""Columns that a table has at least, and a matrix of users and items."""

_CONSISTENT = 0.8
_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*")
_COMMA_NUMBER = re.compile(r"\s*[-+]?\d+,\d+\s*")
_SEP_LINE = re.compile(r"sep=(.)", re.IGNORECASE)

Rows = Sequence[Sequence[str]]


class Dialect(NamedTuple):
    """How a file is written, and its first rows; `names` is empty if there is no header."""

    delimiter: str
    quote: str
    decimal: str
    names: tuple[str, ...]
    n_header_lines: int
    rows: Rows

    @property
    def n_columns(self) -> int:
        """Return how many columns there are."""
        return len(self.names) or len(self.rows[0])

    def make_layout(
        self, kind: Literal["text", "wide"], container: Container, encoding: Encoding, **found: Any
    ) -> Layout:
        """Return the layout of a file that is written so, with what else was `found` of it."""
        return Layout(
            kind=kind,
            packed=container.packed,
            member=container.member,
            encoding=encoding.name,
            delimiter=self.delimiter,
            quote=self.quote,
            decimal=self.decimal,
            n_header_lines=self.n_header_lines,
            **found,
        )


def find(lines: Sequence[str], given: FileFormat) -> Dialect:
    """Return how a file is written that begins with `lines`, as far as it is not given.

    Raises `InvalidDataset` for lines that hold no table.
    """
    n_before, lines, announced = _skip_lead(lines)
    if not lines:
        raise InvalidDataset("the file holds blank lines only; at least one rating was expected")
    asked = WORDS.get(given.delimiter or "", given.delimiter) or announced
    quote_char = '"' if given.quote is None else given.quote
    delimiter = asked or _find_delimiter(lines, quote_char)
    rows = split(lines, delimiter, quote_char)
    header = given.header if given.header is not None else _has_header(rows)
    names, rows = (rows[0], rows[1:]) if header else ([], rows)
    names = _complete(names, rows)
    return Dialect(
        delimiter=delimiter,
        quote=quote_char,
        decimal="," if delimiter != "," and _has_decimal_commas(rows) else ".",
        names=tuple(name.strip() for name in names),
        n_header_lines=n_before + int(header),
        rows=rows,
    )


def split(lines: Sequence[str], delimiter: str, quote_char: str) -> list[list[str]]:
    """Return the cells of each line that is not blank."""
    if delimiter == "::":
        lines, delimiter = [line.replace("::", "\x1f") for line in lines], "\x1f"
    try:
        if quote_char:
            found = csv.reader(lines, delimiter=delimiter, quotechar=quote_char)
        else:
            found = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        return [row for row in found if any(cell.strip() for cell in row)]
    except (csv.Error, TypeError) as error:
        raise InvalidDataset(
            f"the first lines cannot be cut into columns by {quote(delimiter)}: {error}; set format, "
            'such as {"delimiter": ";", "quote": ""}'
        ) from error


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, with a point or a comma."""
    return bool(_NUMBER.fullmatch(cell))


def _skip_lead(lines: Sequence[str]) -> tuple[int, Sequence[str], str]:
    """Pass over blank lines and Excel's `sep=;`; return how many, the rest, and the delimiter."""
    n = 0
    while n < len(lines) and not lines[n].strip():
        n += 1
    if n < len(lines) and (found := _SEP_LINE.fullmatch(lines[n].strip("\r\n"))):
        return n + 1, lines[n + 1 :], found.group(1)
    return n, lines[n:], ""


def _find_delimiter(lines: Sequence[str], quote_char: str) -> str:
    """Return the delimiter that cuts most lines into the same number of columns, three at least."""
    best = max(DELIMITERS, key=lambda one: _rate(lines, one, quote_char))
    if _rate(lines, best, quote_char)[0]:
        return best
    raise InvalidDataset(
        "no delimiter cuts the first lines into three columns or more; expected one rating per line: user, item, rating, with one of "
        'comma, semicolon, tab, |, :: or blank between them; set format, such as {"delimiter": ";"}'
    )


def _rate(lines: Sequence[str], delimiter: str, quote_char: str) -> tuple[bool, int, float]:
    """Return how well a delimiter fits: whether at all, columns of numbers, share of even lines."""
    if not any(delimiter in line for line in lines):
        return False, 0, 0.0
    try:
        rows = split(lines, delimiter, quote_char)
    except InvalidDataset:
        return False, 0, 0.0
    if not rows:
        return False, 0, 0.0
    (width, n_even), *_ = Counter(map(len, rows)).most_common(1)
    even = [row for row in rows if len(row) == width]
    share = n_even / len(rows)
    numeric = sum(
        all(is_number(cell) for cell in column if cell.strip())
        for column in zip(*(even[1:] or even), strict=True)
    )
    fits = width >= FEWEST and share >= _CONSISTENT
    return fits, min(numeric, FEWEST) if fits else 0, share


def _has_header(rows: Rows) -> bool:
    """Return whether the first row is of names: usual ones, or words above numbers."""
    first, rest = rows[0], rows[1:]
    usual = columns.find_usual(first)
    if sum(bool(usual[role]) for role in columns.NEEDED) >= 2:
        return True
    if not rest:
        return not any(is_number(cell) for cell in first)
    may_name_items = len(first) >= WIDE and len(set(first)) == len(first)
    if not may_name_items and any(is_number(cell) for cell in first):
        return False
    return any(
        all(is_number(cell) for cell in cells if cell.strip())
        for cells in zip(*(row for row in rest if len(row) == len(first)), strict=True)
    )


def _complete(names: Sequence[str], rows: Rows) -> list[str]:
    """Name columns that a header lacks, as each line but the header ends in a delimiter."""
    width = len(rows[0]) if rows else len(names)
    if (
        names
        and width > len(names)
        and all(
            len(row) == width and not any(cell.strip() for cell in row[len(names) :])
            for row in rows
        )
    ):
        return [*names, *[""] * (width - len(names))]
    return list(names)


def _has_decimal_commas(rows: Rows) -> bool:
    cells = [cell for row in rows for cell in row]
    return any(_COMMA_NUMBER.fullmatch(cell) for cell in cells) and not any(
        re.fullmatch(r"\s*[-+]?\d+\.\d+\s*", cell) for cell in cells
    )
