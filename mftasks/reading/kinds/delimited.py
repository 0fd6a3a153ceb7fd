"""Read ratings from delimited text. No Python code runs for a row that is as it should be."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mftasks.errors import InvalidDataset, quote
from mftasks.reading.dialect import is_number
from mftasks.reading.files.first_bytes import Container
from mftasks.reading.files.unpacking import COLONS, open_unpacked, recode
from mftasks.reading.kinds import MOST_SHOWN, FilePart, Unreadable, lines

if TYPE_CHECKING:
    from mftasks.reading.kinds.lines import Lines
    from mftasks.records import Column, Layout

    Kinds = dict[Column, list[Any]]

NOTHING = ("", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "#N/A", "None", "none", "-", "\\N")
"""Words that stand for no value in a column of numbers."""

_WORDS = pa.dictionary(pa.int32(), pa.string())
_TYPES: dict[Column, list[Any]] = {
    "user": [_WORDS],
    "item": [_WORDS],
    "rating": [pa.float32(), _WORDS],
    "timestamp": [
        pa.int64(),
        pa.float64(),
        pa.timestamp("us"),
        pa.timestamp("us", "UTC"),
        pa.string(),
    ],
}
_BLOCK, _LARGEST_BLOCK = 4 << 20, 64 << 20


def read(path: Path, layout: Layout, *, trusts_quotes: bool = False) -> FilePart:
    """Read the columns of a layout from a text file.

    Raises `InvalidDataset` if rows would be lost: a quotation mark that is not closed, or a reader
    that finds fewer rows than the file has. `trusts_quotes` allows lines like rows within a cell.
    """
    delimiter = COLONS if layout.delimiter == "::" else layout.delimiter.encode()
    looks_like_row = None if trusts_quotes else _make_check(layout, delimiter)
    with _open(path, layout) as file:
        counted = lines.scan(
            file, delimiter, quoted=bool(layout.quote), looks_like_row=looks_like_row
        )
    n_before = _count_before(counted, layout.n_header_lines)
    rejected = _Rejected(layout.n_header_lines)
    kinds = {role: _TYPES[role] for role in layout.columns}
    table = _read_table(path, layout, counted, kinds, rejected)
    n_rows = table.num_rows + len(rejected.places)
    if n_rows != counted.n_records - n_before:
        raise InvalidDataset(
            f"the file has {counted.n_records - n_before:,} lines for ratings, but {n_rows:,} were "
            "read; a quotation mark may stand in the wrong place: set format, such as "
            '{"quote": ""}'
        )
    places = np.delete(np.arange(n_rows), rejected.places) if rejected.places else None
    part = FilePart(
        columns={role: table[_name(place)] for role, place in layout.columns.items()},
        n_rows=n_rows,
        places=places,
        name_place=lambda place: f"line {counted.number(n_before + place)}",
    )
    words = [f"{part.name_place(place)}: {what}" for place, what in rejected.shown]
    part = part._replace(unreadable=Unreadable(len(rejected.places), tuple(words)))
    return _convert_ratings(part, layout.decimal)


def _count_before(counted: Lines, n_header_lines: int) -> int:
    """Return how many records begin on the lines of the header."""
    return n_header_lines - int(np.searchsorted(counted.extra, n_header_lines))


@contextlib.contextmanager
def _open(path: Path, layout: Layout) -> Iterator[Any]:
    """Open a file as UTF-8 without `::`."""
    with open_unpacked(path, Container(layout.packed, layout.member)) as file:
        if layout.encoding == "utf-8" and layout.delimiter != "::":
            yield file
        else:
            yield recode(file, layout.encoding, colons=layout.delimiter == "::")


def _open_for_arrow(path: Path, layout: Layout) -> Any:
    """Open a file as UTF-8 without `::`; one that is so already needs no Python to be read."""
    if layout.packed or layout.encoding != "utf-8" or layout.delimiter == "::":
        return _open(path, layout)
    return pa.OSFile(str(path))


class _Rejected:
    """The rows that have another number of columns; the reader calls it for each."""

    def __init__(self, n_before: int) -> None:
        self.n_before = n_before
        self.clear()

    def clear(self) -> None:
        self.places: list[int] = []
        self.shown: list[tuple[int, str]] = []

    def __call__(self, row: Any) -> str:
        place = row.number - 1 - self.n_before
        if len(self.shown) < MOST_SHOWN and row.text.strip():
            what = f"{row.actual_columns} columns; expected {row.expected_columns}"
            self.shown.append((place, what))
        self.places.append(place)
        return "skip"


def _read_table(
    path: Path, layout: Layout, counted: Lines, kinds: Kinds, rejected: _Rejected
) -> Any:
    """Return a table of the columns, each of the first of its types that fits all of its values."""
    block = _BLOCK
    while True:
        rejected.clear()
        try:
            with _open_for_arrow(path, layout) as file:
                return pa.csv.read_csv(
                    file, **_make_options(layout, counted, kinds, rejected, block)
                )
        except pa.ArrowInvalid as error:
            role = _find_role(error, layout)
            if role is not None and len(kinds[role]) > 1:
                kinds = kinds | {role: kinds[role][1:]}
            elif role is None and block < _LARGEST_BLOCK and _is_about_blocks(error):
                block = _LARGEST_BLOCK
            else:
                raise _explain(error, role) from error


def _make_options(
    layout: Layout, counted: Lines, kinds: Kinds, rejected: _Rejected, block: int
) -> dict[str, Any]:
    quoted = bool(layout.quote)
    return {
        # With more threads the reader does not know the number of a wrong row.
        "read_options": pa.csv.ReadOptions(
            column_names=[_name(place) for place in range(len(layout.names))],
            skip_rows=layout.n_header_lines,
            use_threads=False,
            block_size=block,
        ),
        "parse_options": pa.csv.ParseOptions(
            delimiter="\x1f" if layout.delimiter == "::" else layout.delimiter,
            quote_char=layout.quote or False,
            double_quote=quoted,
            newlines_in_values=counted.n_cells > 0,
            invalid_row_handler=rejected,
        ),
        "convert_options": pa.csv.ConvertOptions(
            column_types={_name(layout.columns[role]): types[0] for role, types in kinds.items()},
            include_columns=[_name(place) for place in layout.columns.values()],
            decimal_point=layout.decimal,
        ),
    }


def _name(place: int) -> str:
    return f"c{place}"


def _convert_ratings(part: FilePart, decimal: str) -> FilePart:
    """Turn ratings that were read as words into numbers, and leave out the rows that have none."""
    if not pa.types.is_dictionary(part.columns["rating"].type):
        return part
    column = part.columns["rating"].unify_dictionaries().combine_chunks()
    words = column.dictionary.to_pylist()
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        numbers = np.array([_parse_rating(word, decimal) for word in words], np.float64)
        numbers = numbers.astype(np.float32)
    wrong = np.array([not (is_number(word) or word.strip() in NOTHING) for word in words], bool)
    codes = column.indices.fill_null(0).to_numpy()
    kept = ~wrong[codes]
    rows = np.flatnonzero(~kept)
    places = np.arange(part.n_rows) if part.places is None else part.places
    shown = tuple(
        f"{part.name_place(int(places[row]))}: rating {quote(words[codes[row]])}; expected a number"
        for row in rows[:MOST_SHOWN]
    )
    mask = pa.array(kept)
    columns = {role: column.filter(mask) for role, column in part.columns.items()}
    columns["rating"] = pa.chunked_array([pa.array(numbers[codes[kept]])])
    return part._replace(
        columns=columns,
        places=places[kept],
        unreadable=part.unreadable + Unreadable(len(rows), shown),
    )


def _parse_rating(word: str, decimal: str) -> float:
    text = word.strip().replace(decimal, ".")
    return float(text) if is_number(text) else float("nan")


def _make_check(layout: Layout, delimiter: bytes) -> lines.LooksLikeRow:
    n_columns, rating = len(layout.names), layout.columns["rating"]

    def looks_like_row(line: bytes) -> bool:
        cells = line.split(delimiter)
        return len(cells) == n_columns and is_number(
            cells[rating].decode("utf-8", "replace").strip('"')
        )

    return looks_like_row


def _find_role(error: Exception, layout: Layout) -> Column | None:
    found = re.search(r"column #(\d+)", str(error))
    roles = {place: role for role, place in layout.columns.items()}
    return roles.get(int(found.group(1))) if found else None


def _is_about_blocks(error: Exception) -> bool:
    return "straddling" in str(error) or "out of sync" in str(error)


def _explain(error: Exception, role: str | None) -> InvalidDataset:
    if _is_about_blocks(error):
        return InvalidDataset("a line is longer than 64 MiB; expected one rating per line")
    what = "the text" if role is None else f"the column of the {role}"
    return InvalidDataset(
        f"{what} cannot be read: {quote(str(error))}; set format, such as "
        '{"delimiter": ";", "encoding": "latin-1", "quote": ""}'
    )
