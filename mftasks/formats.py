"""Read ratings, in the formats in which they are published, into compact arrays.

Ids are encoded while they are read: a rating holds the position of its user and of its item among
the sorted distinct ids, whether those are numbers or strings. Nothing is dropped: what is missing
in a row is still missing in the arrays, for `validate` to find.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mftasks.errors import InvalidDataset

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mftasks.ratings import Ids

MISSING = -(2**63)
"""Stand for a missing integer: an id, or a timestamp. A missing string is empty, a rating NaN."""

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
_BLOCK = 4 << 20
# Above this many possible values per row, sorting the ids is cheaper than a table of them all.
_MAX_SPREAD = 16


class EncodedIds(NamedTuple):
    """Hold one id a rating: `known[codes]`, where `known` is sorted and without duplicates."""

    codes: NDArray[np.int32]
    known: Ids


class RatingsTable(NamedTuple):
    """Hold n ratings in the order of their file; `timestamps` are seconds since 1970, UTC."""

    users: EncodedIds
    items: EncodedIds
    ratings: NDArray[np.float32]
    timestamps: NDArray[np.int64] | None

    @property
    def n_ratings(self) -> int:
        """Return how many ratings there are."""
        return len(self.ratings)

    def pair_keys(self) -> NDArray[np.int64]:
        """Return one number for each rating, equal for equal pairs, ordered by user and item."""
        return self.users.codes.astype("int64") * len(self.items.known) + self.items.codes


def read(path: Path, format: str) -> RatingsTable:
    """Read the ratings in the file at `path`; `format` is a key of `FORMATS`.

    Raises `InvalidDataset`, naming line and column, for a file that is empty, lacks a column, or
    holds a value that is not what its column expects.
    """
    columns = FORMATS[format](path)
    n_ratings = len(columns["rating"])
    if n_ratings == 0:
        raise InvalidDataset(f"{format} file without a single rating; at least one was expected")
    timestamps = columns.pop("timestamp", None)
    return RatingsTable(
        users=_encoded(columns.pop("user_id")),
        items=_encoded(columns.pop("item_id")),
        ratings=_filled(columns.pop("rating"), "float32", float("nan")),
        timestamps=None if timestamps is None else _seconds(timestamps),
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
        columns = _stream(path, delimiter, names, types, skip=0)
    except pa.ArrowInvalid as error:
        raise _explained(error, names) from error
    return {name: columns[name] for name in COLUMNS}


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
            return _stream(path, ",", names, types, skip=1)
        except pa.ArrowInvalid as error:
            column = _column_of(error, names)
            if column is None or len(candidates[column]) == 1:
                raise _explained(error, names) from error
            del candidates[column][0]


def _read_parquet(path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = _named(file.schema_arrow.names)
        wanted = [file.schema_arrow.names[names.index(name)] for name in COLUMNS if name in names]
        table = file.read(columns=wanted)
    except pa.ArrowInvalid as error:
        raise InvalidDataset(f"not a readable Parquet file: {error}") from error
    columns = {_ALIASES.get(name, name): table.column(name) for name in wanted}
    del table
    return {name: _accepted(name, columns.pop(name)) for name in list(columns)}


def _accepted(name: str, column: Any) -> Any:
    """Convert a Parquet column to one of the types that a CSV column may have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _accepted(name, column.cast(kind.value_type))
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    try:
        if name == "rating" and number:
            return column.cast(pa.float32(), safe=False)
        if name == "timestamp" and pa.types.is_timestamp(kind):
            return pc.cast(column, pa.timestamp("us", kind.tz), safe=False)
        if name == "timestamp" and number:
            return column.cast(pa.int64(), safe=False)
        if name in ("user_id", "item_id") and number:
            return column.cast(pa.int64())
        if name in ("user_id", "item_id") and text:
            return column.cast(pa.string()).dictionary_encode()
    except pa.ArrowInvalid as error:
        raise InvalidDataset(f"column {name}: {error}; expected {_EXPECTED[name]}") from error
    raise InvalidDataset(f"column {name} is of type {kind}; expected {_EXPECTED[name]}")


FORMATS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "tab": _read_tab,
    "colons": _read_colons,
    "csv": _read_csv,
    "parquet": _read_parquet,
}


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


def _stream(
    path: Path, delimiter: str, names: list[str], types: dict[str, Any], skip: int
) -> dict[str, Any]:
    """Read delimited text block by block, and return its columns as chunked arrays."""
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
    chunks: dict[str, list[Any]] = {name: [] for name in types}
    for batch in batches:
        for name, column in zip(types, batch.columns, strict=True):
            chunks[name].append(column)
    return {name: pa.chunked_array(chunks.pop(name), type=types[name]) for name in types}


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


def _encoded(column: Any) -> EncodedIds:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        return _encoded_strings(column)
    return _encoded_integers(column)


def _encoded_strings(column: Any) -> EncodedIds:
    import numpy as np

    column = column.unify_dictionaries()
    found = column.chunk(0).dictionary.to_numpy(zero_copy_only=False).astype(str)
    known, places = np.unique(np.append(found, ""), return_inverse=True)
    places = places.astype(np.int32)
    codes = np.concatenate(
        [places[chunk.indices.fill_null(len(found)).to_numpy()] for chunk in column.chunks]
    )
    return _without_unused(codes, known)


def _without_unused(codes: NDArray[np.int32], known: Ids) -> EncodedIds:
    import numpy as np

    used = np.bincount(codes, minlength=len(known)) > 0
    return EncodedIds((np.cumsum(used, dtype=np.int32) - 1)[codes], known[used])


def _encoded_integers(column: Any) -> EncodedIds:
    import numpy as np
    import pyarrow.compute as pc

    bounds = pc.min_max(column)
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    if column.null_count or high - low > _MAX_SPREAD * len(column) + 1_000_000:
        known, codes = np.unique(_filled(column, "int64", MISSING), return_inverse=True)
        return EncodedIds(codes.astype(np.int32), known)
    present = np.zeros(high - low + 1, bool)
    for chunk in column.chunks:
        present[chunk.to_numpy() - low] = True
    places = np.cumsum(present, dtype=np.int32) - np.int32(1)
    codes = np.empty(len(column), np.int32)
    start = 0
    for chunk in column.chunks:
        codes[start : start + len(chunk)] = places[chunk.to_numpy() - low]
        start += len(chunk)
    return EncodedIds(codes, np.flatnonzero(present) + low)


def _filled(column: Any, dtype: str, missing: float) -> Any:
    """Return a chunked array as one numpy array, with `missing` where there is no value."""
    import numpy as np

    values = np.empty(len(column), dtype)
    start = 0
    for chunk in column.chunks:
        filled = chunk.fill_null(missing) if chunk.null_count else chunk
        values[start : start + len(chunk)] = filled.to_numpy()
        start += len(chunk)
    return values


def _seconds(column: Any) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        column = pc.floor(pc.divide(column.cast(pa.int64()).cast(pa.float64()), 1e6))
    if pa.types.is_floating(column.type):
        column = pc.floor(column).cast(pa.int64(), safe=False)
    seconds: NDArray[np.int64] = _filled(column, "int64", MISSING)
    return seconds
