"""Read ratings, in the formats in which they are published, into a table.

Tab-separated (ml-100k), `::` between the columns (ml-1m, ml-10m), CSV with a header (later ones, and
data of one's own) and Parquet. Text is read block by block, without Python code for a row.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mftasks.data.table import RatingsTable, collected, encoded
from mftasks.errors import InvalidDataset

COLUMNS = ("user_id", "item_id", "rating", "timestamp")

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
_BLOCK = 1 << 18


def read(path: Path, format: str) -> RatingsTable:
    """Read the ratings in the file at `path`; `format` is a key of `FORMATS`.

    Raises `InvalidDataset`, naming line and column, for a file that is empty, lacks a column, or
    holds a value that is not what its column expects.
    """
    columns = FORMATS[format](path)
    if not len(columns.get("rating", ())):
        raise InvalidDataset(f"{format} file without a single rating; at least one was expected")
    return RatingsTable(
        users=encoded(columns.pop("user_id")),
        items=encoded(columns.pop("item_id")),
        ratings=columns["rating"],
        timestamps=columns["timestamp"].astype("int64") if "timestamp" in columns else None,
        n_header_lines=_HEADER_LINES[format],
    )


def _read_tab(path: Path) -> dict[str, Any]:
    return _read_plain(path, "\t", list(COLUMNS))


def _read_colons(path: Path) -> dict[str, Any]:
    """Read `user::item::rating::timestamp` as columns between single colons, every other empty."""
    names = [COLUMNS[0]]
    for before, after in itertools.pairwise(COLUMNS):
        names += [f"between {before} and {after}", after]
    return _read_plain(path, ":", names)


def _read_plain(path: Path, delimiter: str, names: list[str]) -> dict[str, Any]:
    """Read a file without header, whose every column has one type."""
    import pyarrow as pa

    types = dict(zip(COLUMNS, (pa.int64(), pa.int64(), pa.float32(), pa.int64()), strict=True))
    types |= {name: pa.null() for name in names if name not in types}
    try:
        return collected(_text_batches(path, delimiter, names, types, skip=0))
    except pa.ArrowInvalid as error:
        raise _explained(error, names) from error


def _read_csv(path: Path) -> dict[str, Any]:
    """Read a file with a header, whose ids may be strings; other columns are left alone."""
    import pyarrow as pa

    names = _header(path)
    text = pa.dictionary(pa.int32(), pa.string())
    candidates = {
        "user_id": [pa.int64(), text],
        "item_id": [pa.int64(), text],
        "rating": [pa.float32()],
        "timestamp": [pa.int64(), pa.float64(), pa.timestamp("us"), pa.timestamp("us", "UTC")],
    }
    candidates = {name: candidates[name] for name in COLUMNS if name in names}
    while True:
        types = {name: kinds[0] for name, kinds in candidates.items()}
        try:
            return collected(_text_batches(path, ",", names, types, skip=1))
        except pa.ArrowInvalid as error:
            column = _column_of(error, names)
            if column is None or len(candidates[column]) == 1:
                raise _explained(error, names) from error
            del candidates[column][0]


def _read_parquet(path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow.names
            names = _named(found)
            wanted = [found[names.index(name)] for name in COLUMNS if name in names]
            batches = file.iter_batches(columns=wanted)
            return collected(_accepted(batch) for batch in batches)
    except pa.ArrowInvalid as error:
        raise InvalidDataset(f"not a readable Parquet file: {error}") from error


FORMATS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "tab": _read_tab,
    "colons": _read_colons,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
_HEADER_LINES = {"tab": 0, "colons": 0, "csv": 1, "parquet": None}


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return _named(next(csv.reader(file), []))


def _named(header: list[str]) -> list[str]:
    """Return the names of the columns as we call them; raises where one is missing or doubled."""
    names = [_ALIASES.get(name.strip(), name.strip()) for name in header]
    for name in COLUMNS[:3]:
        if name not in names:
            raise InvalidDataset(
                f"no column {name!r}; found: {', '.join(names) or 'an empty file'}; "
                "expected user_id, item_id, rating and, if you like, timestamp"
            )
    doubled = [name for name in COLUMNS if names.count(name) > 1]
    if doubled:
        raise InvalidDataset(f"column {doubled[0]!r} is there twice; expected each column once")
    return names


def _text_batches(
    path: Path, delimiter: str, names: list[str], types: dict[str, Any], skip: int
) -> Iterator[dict[str, Any]]:
    """Yield the columns in `types` of delimited text, a block at a time."""
    import pyarrow as pa
    from pyarrow import csv as reader

    plain = delimiter != ","
    if path.stat().st_size == 0:
        raise InvalidDataset("the file is empty; at least one rating was expected")
    batches = reader.open_csv(
        path,
        # One thread, or the reader cannot tell the number of a wrong row.
        read_options=reader.ReadOptions(
            column_names=names, skip_rows=skip, block_size=_BLOCK, use_threads=False
        ),
        parse_options=reader.ParseOptions(
            delimiter=delimiter, quote_char=False if plain else '"', double_quote=not plain
        ),
        convert_options=reader.ConvertOptions(column_types=types, include_columns=list(types)),
    )
    for batch in batches:
        columns = dict(zip(types, batch.columns, strict=True))
        yield {name: column for name, column in columns.items() if types[name] != pa.null()}


def _accepted(batch: Any) -> dict[str, Any]:
    columns = zip(_named(batch.schema.names), batch.columns, strict=True)
    return {name: _accepted_column(name, column) for name, column in columns}


def _accepted_column(name: str, column: Any) -> Any:
    """Convert a Parquet column to one of the types that a CSV column may have."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _accepted_column(name, column.dictionary_decode())
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    try:
        if name == "rating" and number:
            return column.cast(pa.float32(), safe=False)
        if name == "timestamp" and pa.types.is_timestamp(kind):
            return column.cast(pa.timestamp("us", kind.tz), safe=False)
        if name == "timestamp" and number:
            return column.cast(pa.int64(), safe=False)
        if name in ("user_id", "item_id") and number:
            return column.cast(pa.int64())
        if name in ("user_id", "item_id") and text:
            return column.cast(pa.string()).dictionary_encode()
    except pa.ArrowInvalid as error:
        raise InvalidDataset(f"column {name}: {error}; expected {_EXPECTED[name]}") from error
    raise InvalidDataset(f"column {name} is of type {kind}; expected {_EXPECTED[name]}")


def _column_of(error: Exception, names: list[str]) -> str | None:
    found = re.search(r"column #(\d+)", str(error))
    return names[int(found.group(1))] if found else None


def _explained(error: Exception, names: list[str]) -> InvalidDataset:
    """Turn pyarrow's message into one that names the line, the column, and what was expected."""
    text = str(error)
    row = re.search(r"Row #(\d+)", text)
    line = f"line {row.group(1)}" if row else "some line"
    column = _column_of(error, names)
    if column is None:
        told = text.partition("Row #")[2].partition(": ")[2] or text
        wanted = ", ".join(name for name in names if not name.startswith("between "))
        return InvalidDataset(f"{line}: {told}; expected the columns {wanted}")
    value = re.search(r"invalid value '(.*)'", text)
    what = f"{value.group(1)!r}" if value else text
    if column not in _EXPECTED:
        return InvalidDataset(f"{line}, {column}: {what}; expected '::' alone")
    return InvalidDataset(f"{line}, column {column}: {what}; expected {_EXPECTED[column]}")
