"""Read ratings from Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from mftasks.errors import InvalidDataset, quote
from mftasks.reading import columns
from mftasks.reading.kinds import FilePart
from mftasks.records import Layout, ReadConfig


def understand(path: Path, config: ReadConfig) -> Layout:
    """Return which columns of a Parquet file hold what."""
    with _open(path) as file:
        names = _read_names(file)
    found = columns.find_by_name(names, config.columns)
    return Layout(kind="parquet", columns=found.columns, names=tuple(names), guesses=found.guesses)


def read(path: Path, layout: Layout) -> FilePart:
    """Read the columns of a layout."""
    try:
        with _open(path) as file:
            names = _read_names(file)
            if tuple(names) != layout.names:
                raise InvalidDataset(
                    f"{path.name} has other columns, {columns.describe(names)}, than the first file"
                )
            read_columns = {
                role: _accept(role, file.read([names[place]]).column(0))
                for role, place in layout.columns.items()
            }
    except (pa.ArrowException, OSError) as error:
        raise _explain(error) from error
    return FilePart(read_columns, len(read_columns["rating"]))


def _open(path: Path) -> Any:
    try:
        return pa.parquet.ParquetFile(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _explain(error) from error


def _read_names(file: Any) -> list[str]:
    try:
        return list(file.schema_arrow.names)
    except UnicodeDecodeError as error:
        raise InvalidDataset("not a readable Parquet file: a name is not UTF-8") from error


def _explain(error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno:
        return error  # the disk's fault, not the file's
    return InvalidDataset(f"not a readable Parquet file: {quote(str(error))}")


def _accept(role: str, column: Any) -> Any:
    """Convert a column to one of the types that a column of text may have."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    try:
        if role == "timestamp":
            return column
        if role == "rating" and number:
            return column.cast(pa.float32(), safe=False)
        if role == "rating" and text:
            return column.cast(pa.float32())
        if role in ("user", "item") and (number or text):
            return column.cast(pa.int64() if number else pa.string())
    except pa.ArrowInvalid as error:
        expected = "a number" if role == "rating" else "whole numbers or words"
        raise InvalidDataset(
            f"the column of the {role}: {quote(str(error))}; expected {expected}"
        ) from error
    raise InvalidDataset(
        f"the column of the {role} is of type {kind}; expected "
        f"{'a number' if role == 'rating' else 'whole numbers or words'}"
    )
