"""Read ratings, in the formats in which they are published, into a table.

Tab-separated (ml-100k), `::` between the columns (ml-1m, ml-10m), CSV with a header (later ones, and
data of one's own) and Parquet. No Python code runs for a row.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mftasks.data.table import MISSING, RatingsTable, encode
from mftasks.errors import LONGEST, InvalidDataset, quote

COLUMNS = ("user_id", "item_id", "rating", "timestamp")
IDS = COLUMNS[:2]

_ALIASES = {
    "userId": "user_id",
    "movieId": "item_id",
    "movie_id": "item_id",
    "itemId": "item_id",
}
_EXPECTED = {
    "user_id": "an integer, or a string in UTF-8",
    "item_id": "an integer, or a string in UTF-8",
    "rating": "a number",
    "timestamp": "seconds since 1970 or an ISO 8601 moment",
}
_COLONS = (  # of user::item::rating::timestamp, read as columns between single colons
    *("user_id", "between user_id and item_id", "item_id", "between item_id and rating"),
    *("rating", "between rating and timestamp", "timestamp"),
)
_FOREIGN = {  # how the first line of what is often taken for CSV begins, decoded as UTF-8
    "\x1f\ufffd": "it is compressed with gzip; unpack it",
    "PK\x03\x04": "it is a zip archive or a workbook; unpack it, or export it as CSV",
    "\ufffd\ufffd": "it is in UTF-16; store it as UTF-8",
    "[^,]*;[^,]*;": "semicolons separate its columns; expected commas",
    "[^,]*\t[^,]*\t": "tabs separate its columns; expected commas",
}
_NO_LINES = "a line is too long for a rating, or a quotation mark is not closed in its line"
_MOST_NAMES = 10

Columns = dict[str, Any]
"""Chunked arrays of pyarrow's by the names in `COLUMNS`."""


def read(path: Path, format: str) -> RatingsTable:
    """Read the ratings in the file at `path`; `format` is a key of `FORMATS`.

    Raises `InvalidDataset`, naming line and column, for a file that is empty, lacks a column, or
    holds a value that is not what its column expects.
    """
    try:
        columns = FORMATS[format](path)
        if not len(columns["rating"]):
            raise InvalidDataset(
                f"{format} file without a single rating; at least one was expected"
            )
        # A column that is converted leaves its memory to the next one.
        ratings = _to_numpy(columns.pop("rating"), float("nan"))
        moments = _to_seconds(columns.pop("timestamp")) if "timestamp" in columns else None
        users, items = (
            encode(columns.pop(name), words_may_be_numbers=format == "csv") for name in IDS
        )
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"not UTF-8: {error}; names and ids are expected to be") from error
    return RatingsTable(users, items, ratings, moments, _HEADER_LINES[format])


def _to_seconds(column: Any) -> Any:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("s", column.type.tz), safe=False)
    return _to_numpy(column.cast(pa.int64(), safe=False), MISSING)


def _to_numpy(column: Any, missing: float) -> Any:
    filled = column.fill_null(missing) if column.null_count else column
    return np.concatenate([chunk.to_numpy() for chunk in filled.chunks])


def _read_plain(path: Path, delimiter: str, names: Sequence[str]) -> Columns:
    """Read a file without header, whose every column has one type; further columns are empty."""
    ids = pa.dictionary(pa.int32(), pa.int64())
    types = dict(zip(COLUMNS, (ids, ids, pa.float32(), pa.int64()), strict=True))
    return _read_text(
        path, delimiter, names, {name: [types.get(name, pa.null())] for name in names}
    )


def _read_csv(path: Path) -> Columns:
    """Read a file with a header; columns that are not ours are left alone.

    Ids are read as text: read as numbers, `007` and `7` would be one id, and `0x10` be 16.
    """
    names = _name_columns(_read_header(path))
    ids = pa.dictionary(pa.int32(), pa.string())
    types = {
        "user_id": [ids],
        "item_id": [ids],
        "rating": [pa.float32()],
        "timestamp": [pa.int64(), pa.float64(), pa.timestamp("us"), pa.timestamp("us", "UTC")],
    }
    chosen = {name: types[name] for name in COLUMNS if name in names}
    return _read_text(path, ",", names, chosen, skip=1)


def _read_header(path: Path) -> list[str]:
    """Return the names of the columns; raises `InvalidDataset` for what is known to be no CSV."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            header = next(csv.reader(file), [])
    except csv.Error as error:
        raise InvalidDataset(f"{_NO_LINES}; expected one rating per line") from error
    for start, what in _FOREIGN.items():
        if re.match(start, ",".join(header)):
            raise InvalidDataset(f"the file is not CSV with commas: {what}")
    return header


def _read_text(
    path: Path, delimiter: str, names: Sequence[str], types: dict[str, list[Any]], skip: int = 0
) -> Columns:
    """Read the columns in `types` of delimited text, each as the first of its types that fits."""
    if path.stat().st_size == 0:
        raise InvalidDataset("the file is empty; at least one rating was expected")
    quoted = delimiter == ","
    try:
        table = pa.csv.read_csv(
            path,
            # With more threads the reader does not know the number of a wrong row.
            pa.csv.ReadOptions(column_names=names, skip_rows=skip, use_threads=False),
            pa.csv.ParseOptions(
                delimiter=delimiter, quote_char='"' if quoted else False, double_quote=quoted
            ),
            pa.csv.ConvertOptions(
                column_types={name: kinds[0] for name, kinds in types.items()},
                include_columns=list(types),
            ),
        )
    except pa.ArrowInvalid as error:
        column = _find_column(error, names)
        if column is None or len(types[column]) == 1:
            raise _explain(error, names) from error
        return _read_text(path, delimiter, names, types | {column: types[column][1:]}, skip)
    return {name: table[name] for name in COLUMNS if name in types}


def _read_parquet(path: Path) -> Columns:
    try:
        with pa.parquet.ParquetFile(path) as file:
            found = file.schema_arrow.names
            names = _name_columns(found)
            return {
                name: _accept_column(name, file.read([found[names.index(name)]]).column(0))
                for name in COLUMNS
                if name in names
            }
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's fault, not the file's
        raise InvalidDataset(f"not a readable Parquet file: {quote(str(error))}") from error


FORMATS: dict[str, Callable[[Path], Columns]] = {
    "tab": functools.partial(_read_plain, delimiter="\t", names=COLUMNS),
    "colons": functools.partial(_read_plain, delimiter=":", names=_COLONS),
    "csv": _read_csv,
    "parquet": _read_parquet,
}
_HEADER_LINES = {"tab": 0, "colons": 0, "csv": 1, "parquet": None}


def _name_columns(header: list[str]) -> list[str]:
    """Return the names of the columns as we call them; raises if one is missing or doubled."""
    names = [_ALIASES.get(name.strip(), name.strip()) for name in header]
    for name in COLUMNS[:3]:
        if name not in names:
            raise InvalidDataset(
                f"no column {name!r}; found: {_describe_header(names)}; "
                "expected user_id, item_id, rating and, optionally, timestamp"
            )
    doubled = [name for name in COLUMNS if names.count(name) > 1]
    if doubled:
        raise InvalidDataset(f"column {doubled[0]!r} is there twice; expected each column once")
    return names


def _describe_header(names: Sequence[str]) -> str:
    """Return the first few names; a line of data is not repeated, as messages are sent around."""
    if not any(names):
        return "an empty file"
    if not all(re.fullmatch(r"[^\W\d][\w .-]{0,39}", name) for name in names):
        return f"a first line of {len(names):,} columns that do not look like names"
    rest = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + rest


def _accept_column(name: str, column: Any) -> Any:
    """Convert a Parquet column to one of the types that a CSV column may have."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    try:
        if name == "rating" and number:
            return column.cast(pa.float32(), safe=False)
        if name == "timestamp" and (number or pa.types.is_timestamp(kind)):
            return column
        if name in IDS and (number or text):
            return column.cast(pa.int64() if number else pa.string())
    except pa.ArrowInvalid as error:
        raise InvalidDataset(f"column {name}: {error}; expected {_EXPECTED[name]}") from error
    raise InvalidDataset(f"column {name} is of type {kind}; expected {_EXPECTED[name]}")


def _find_column(error: Exception, names: Sequence[str]) -> str | None:
    found = re.search(r"column #(\d+)", str(error))
    return names[int(found.group(1))] if found else None


def _explain(error: Exception, names: Sequence[str]) -> InvalidDataset:
    """Turn pyarrow's message into one that names the line, the column, and what was expected."""
    text = str(error)
    if "straddling" in text or "out of sync" in text:
        return InvalidDataset(f"{_NO_LINES}; expected one rating per line")
    row = re.search(r"Row #(\d+)(?:: )?(.*)", text, re.DOTALL)
    line = f"line {row.group(1)}" if row else "some line"
    column = _find_column(error, names)
    if column is None:
        wanted = ", ".join(name for name in COLUMNS if name in names)
        found = (row and row.group(2)) or text
        return InvalidDataset(f"{line}: {found[:LONGEST]}; expected the columns {wanted}")
    value = re.search(r"invalid value '(.*)'", text, re.DOTALL)
    if value and "\n" in value.group(1):
        return InvalidDataset(f"{line}: {_NO_LINES}; expected one rating per line")
    what = quote(value.group(1)) if value else text[:LONGEST]
    if column not in _EXPECTED:
        return InvalidDataset(f"{line}, {column}: {what}; expected '::' alone")
    return InvalidDataset(f"{line}, column {column}: {what}; expected {_EXPECTED[column]}")
