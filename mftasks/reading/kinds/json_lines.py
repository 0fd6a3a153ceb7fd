"""Read ratings from JSON lines: one object per line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json

from mftasks.errors import InvalidDataset, quote
from mftasks.reading import columns
from mftasks.reading.files.first_bytes import Container
from mftasks.reading.files.unpacking import open_unpacked, recode
from mftasks.reading.kinds import FilePart, lines
from mftasks.records import Layout, ReadConfig

_BLOCK = 16 << 20


def understand(
    first_lines: list[str], config: ReadConfig, container: Container, encoding: str
) -> Layout:
    """Return which fields of the objects hold what."""
    names: dict[str, None] = {}
    for number, line in enumerate(first_lines, 1):
        if line.strip():
            names |= dict.fromkeys(_parse(line, number))
    found = columns.find_by_name(list(names), config.columns)
    return Layout(
        kind="json",
        packed=container.packed,
        member=container.member,
        encoding=encoding,
        n_header_lines=0,
        columns=found.columns,
        names=tuple(names),
        guesses=found.guesses,
    )


def read(path: Path, layout: Layout) -> FilePart:
    """Read the fields of a layout; an object without one of them lacks its value."""
    with _open(path, layout) as file:
        counted = lines.scan(file, b",", quoted=False)
    fields = {role: layout.names[place] for role, place in layout.columns.items()}
    try:
        with _open(path, layout) as file:
            table = pa.json.read_json(
                file,
                pa.json.ReadOptions(use_threads=False, block_size=_BLOCK),
                pa.json.ParseOptions(
                    explicit_schema=_make_schema(path, layout, fields),
                    unexpected_field_behavior="ignore",
                ),
            )
    except pa.ArrowInvalid as error:
        raise InvalidDataset(
            f"JSON lines cannot be read: {quote(str(error))}; expected one object per line"
        ) from error
    if table.num_rows != counted.n_records:
        raise InvalidDataset(
            f"the file has {counted.n_records:,} lines, but {table.num_rows:,} objects; expected one "
            "object per line"
        )
    found = {role: table[name] for role, name in fields.items()}
    found["rating"] = found["rating"].cast(pa.float32(), safe=False)
    return FilePart(found, table.num_rows, name_place=lambda place: f"line {counted.number(place)}")


def _make_schema(path: Path, layout: Layout, fields: dict[Any, str]) -> Any:
    """Return the types of the fields, by the first object that has each: numbers, or words."""
    with _open(path, layout) as file:
        head = file.read(1 << 20).decode("utf-8", "replace").split("\n")
    first: dict[str, Any] = {}
    for number, line in enumerate(head[:-1] or head, 1):
        if line.strip():
            first = {
                key: value for key, value in _parse(line, number).items() if value is not None
            } | first
    kinds = {}
    for role, name in fields.items():
        value = first.get(name)
        if role == "rating":
            kinds[name] = pa.float64()
        elif isinstance(value, str):
            kinds[name] = pa.string()
        else:
            kinds[name] = pa.float64() if isinstance(value, float) else pa.int64()
    return pa.schema(list(kinds.items()))


def _open(path: Path, layout: Layout) -> Any:
    import contextlib

    @contextlib.contextmanager
    def opened() -> Any:
        with open_unpacked(path, Container(layout.packed, layout.member)) as file:
            yield file if layout.encoding == "utf-8" else recode(file, layout.encoding)

    return opened()


def _parse(line: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise InvalidDataset(
            f"line {number} begins like JSON, but cannot be read as such: {error}; expected one object "
            "per line"
        ) from error
    if not isinstance(found, dict):
        raise InvalidDataset(
            f"line {number} is JSON, but no object; expected one object per line, such as "
            '{"user_id": 1, "item_id": 2, "rating": 3}'
        )
    return found
