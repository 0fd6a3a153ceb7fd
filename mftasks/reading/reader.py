"""Read files of a known layout into one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from mftasks.data.table import EncodedIds, RatingsTable, encode
from mftasks.errors import InvalidDataset
from mftasks.reading import moments
from mftasks.reading.files.first_bytes import find_container
from mftasks.reading.kinds import (
    FilePart,
    Unreadable,
    delimited,
    join_places,
    json_lines,
    name_places,
    naming,
    parquet,
    wide,
)
from mftasks.records import Check, Column, FileFormat, Layout, ReadConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

_READERS: dict[str, Callable[[Path, Layout], FilePart]] = {
    "parquet": parquet.read,
    "json": json_lines.read,
    "wide": wide.read,
}


class Reading(NamedTuple):
    """The rows of a data set that could be read, those that could not, and what was noticed."""

    table: RatingsTable
    unreadable: Unreadable = Unreadable()
    notes: tuple[Check, ...] = ()


def read(
    paths: Sequence[Path],
    layout: Layout,
    config: ReadConfig | None = None,
    names: Sequence[str] = (),
) -> Reading:
    """Read the files at `paths`, which have the same layout, in their order.

    Messages call the files by `names`. Raises `InvalidDataset` if rows would be lost, or if there is
    not one.
    """
    names = names or [path.name for path in paths]
    parts = [
        _read_part(path, name, layout, config or ReadConfig(), alone=len(paths) == 1)
        for path, name in zip(paths, names, strict=True)
    ]
    if not sum(len(part.columns["rating"]) + part.unreadable.n_rows for part in parts):
        raise InvalidDataset("there is not a single rating in the file; at least one was expected")
    joined = {role: _join([part.columns[role] for part in parts]) for role in parts[0].columns}
    # A column that is converted leaves its memory to the next one.
    parts = [part._replace(columns={}) for part in parts]
    ratings = _to_floats(joined.pop("rating"))
    times = moments.convert(joined.pop("timestamp")) if "timestamp" in joined else None
    try:
        users, items = _encode(joined, layout)
    except UnicodeDecodeError as error:
        raise InvalidDataset(
            f'an id is not UTF-8: {error.reason}; set format, such as {{"encoding": "latin-1"}}'
        ) from error
    table = RatingsTable(
        users,
        items,
        ratings,
        None if times is None else times.seconds,
        join_places(parts),
        name_places(names, parts),
    )
    unreadable = sum((part.unreadable for part in parts), Unreadable())
    return Reading(table, unreadable, tuple(_note(layout, times)))


def _encode(columns: dict[Column, Any], layout: Layout) -> Iterator[EncodedIds]:
    is_words = layout.kind != "parquet"
    return (encode(columns.pop(role), words_may_be_numbers=is_words) for role in ("user", "item"))


def _read_part(
    path: Path, name: str, layout: Layout, config: ReadConfig, *, alone: bool
) -> FilePart:
    """Read a file, which may be packed in another way than the others."""
    with naming(name, alone=alone):
        if not alone and layout.kind != "parquet":
            layout = msgspec.structs.replace(layout, **find_container(path)._asdict())
        part = _read_file(path, layout, config)
    if alone:
        return part
    shown = tuple(one.replace(":", f" of {name}:", 1) for one in part.unreadable.examples)
    return part._replace(unreadable=part.unreadable._replace(examples=shown))


def _read_file(path: Path, layout: Layout, config: ReadConfig) -> FilePart:
    if layout.kind == "text":
        given = config.format or FileFormat()
        return delimited.read(path, layout, trusts_quotes=bool(given.quote))
    return _READERS[layout.kind](path, layout)


def _join(columns: Sequence[Any]) -> Any:
    if len(columns) == 1:
        return columns[0]
    kinds = {column.type for column in columns}
    if len(kinds) > 1:
        columns = [column.cast(pa.string()) for column in columns]
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks])


def _to_floats(column: Any) -> NDArray[np.float32]:
    filled = column.fill_null(float("nan")) if column.null_count else column
    return np.concatenate([np.empty(0, np.float32), *(chunk.to_numpy() for chunk in filled.chunks)])


def _note(layout: Layout, times: moments.Moments | None) -> Iterator[Check]:
    """Yield what is not certain about the reading, as warnings."""
    for guess in layout.guesses:
        yield Check(name="the layout is certain", severity="warning", passed=False, detail=guess)
    if times is None:
        return
    if times.n_unreadable:
        yield Check(
            name="times can be read",
            severity="warning",
            passed=False,
            detail=f"{times.n_unreadable:,} cannot: {times.complaint}; expected seconds since 1970, or "
            "ISO 8601 as 2011-03-13T07:06:40Z",
        )
    elif times.written not in ("", "seconds", "ISO 8601"):
        yield Check(
            name="times can be read",
            severity="warning",
            passed=True,
            detail=f"read as {times.written}",
        )
