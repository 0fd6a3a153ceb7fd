"""Read a wide matrix: a row per user, a column per item, a rating or nothing in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mftasks.errors import InvalidDataset, quote
from mftasks.reading.dialect import WIDE, Dialect, is_number
from mftasks.reading.files.first_bytes import Container
from mftasks.reading.files.unpacking import open_unpacked, recode
from mftasks.reading.kinds import FilePart

if TYPE_CHECKING:
    from mftasks.reading.files.encodings import Encoding
    from mftasks.records import Layout

_NUMERIC = 0.95
_CODES = ("99", "-1", "")
_COUNTS = ""
"""The name of a column that counts the ratings of its row."""


def looks_wide(dialect: Dialect) -> bool:
    """Return whether all columns but the first hold numbers or nothing, and there are many."""
    if dialect.n_columns < WIDE or not dialect.rows:
        return False
    cells = [cell for row in dialect.rows for cell in row[1:]]
    numeric = sum(not cell.strip() or is_number(cell) for cell in cells)
    return numeric >= _NUMERIC * len(cells)


def understand(dialect: Dialect, container: Container, encoding: Encoding) -> Layout:
    """Return the layout of a matrix; its first column names the users if no two rows share it."""
    first = [row[0] for row in dialect.rows]
    named = bool(dialect.names) and len(set(first)) == len(first)
    users = "the first column" if named else "the number of the row"
    items = "the header" if dialect.names else "the number of the column"
    names = dialect.names or tuple(str(place + 1) for place in range(dialect.n_columns))
    if not dialect.names and any(_begin_with_counts(dialect.rows, code) for code in _CODES):
        names = (_COUNTS, *names[:-1])
        items += " after the first, which counts the ratings of the row"
    return dialect.make_layout(
        "wide",
        container,
        encoding,
        columns={"user": 0} if named else {},
        names=names,
        guesses=(
            f"the file is taken for a matrix of a row per user and a column per item: users are {users}, "
            f"items are {items}",
        ),
    )


def _begin_with_counts(rows: Sequence[Sequence[str]], code: str) -> bool:
    """Return whether rows begin with the number of their ratings, as those of Jester do.

    Cells that are empty or begin with `code` hold no rating.
    """
    return all(
        row[0].strip() == str(sum(cell.strip()[:2] not in ("", code) for cell in row[1:]))
        for row in rows
    )


def read(path: Path, layout: Layout) -> FilePart:
    """Read all cells that hold a number, row by row."""
    with open_unpacked(path, Container(layout.packed, layout.member)) as raw:
        file = raw if layout.encoding == "utf-8" else recode(raw, layout.encoding)
        table = _read_table(file, layout)
    first = 1 if layout.columns or layout.names[0] == _COUNTS else 0
    cells = np.column_stack(
        [
            table.column(place).to_numpy().astype(np.float32)
            for place in range(first, table.num_columns)
        ]
    )
    rows, places = np.nonzero(~np.isnan(cells))
    words = [str(n + 1) for n in range(len(cells))]
    if layout.columns:
        words = table.column(0).to_pylist()
    return FilePart(
        columns={
            "user": _encode(words, rows),
            "item": _encode(layout.names[first:], places),
            "rating": pa.chunked_array([pa.array(cells[rows, places])]),
        },
        n_rows=len(rows),
        name_place=lambda place: _name(
            layout, int(rows[place]), layout.names[first + int(places[place])]
        ),
    )


def _name(layout: Layout, row: int, item: str) -> str:
    return f"line {row + layout.n_header_lines + 1}, column {quote(item)}"


def _encode(words: Sequence[str], codes: Any) -> Any:
    coded = pa.DictionaryArray.from_arrays(
        pa.array(codes, pa.int32()), pa.array(words, pa.string())
    )
    return pa.chunked_array([coded])


def _read_table(file: Any, layout: Layout) -> Any:
    names = [f"c{place}" for place in range(len(layout.names))]
    kinds = dict.fromkeys(names, pa.float32())
    if layout.columns:
        kinds[names[0]] = pa.string()
    try:
        return pa.csv.read_csv(
            file,
            pa.csv.ReadOptions(
                column_names=names,
                skip_rows=layout.n_header_lines,
                use_threads=False,
                block_size=64 << 20,
            ),
            pa.csv.ParseOptions(delimiter=layout.delimiter, quote_char=layout.quote or False),
            pa.csv.ConvertOptions(column_types=kinds, decimal_point=layout.decimal),
        )
    except pa.ArrowInvalid as error:
        raise InvalidDataset(
            f"the file looks like a matrix of users and items, but cannot be read as one: "
            f"{quote(str(error))}; expected a number or nothing in each cell"
        ) from error
