"""Find out what a file of ratings is: how it is packed and written, and which column holds what."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mftasks.errors import InvalidDataset, quote
from mftasks.reading import columns, dialect, guessing
from mftasks.reading.files import encodings
from mftasks.reading.files.encodings import Encoding
from mftasks.reading.files.first_bytes import PARQUET, Container, find_container, refuse_foreign
from mftasks.reading.files.unpacking import open_unpacked, recode
from mftasks.reading.kinds import json_lines, naming, parquet, wide
from mftasks.records import FileFormat, Layout, ReadConfig

if TYPE_CHECKING:
    from mftasks.reading.dialect import Dialect

_SAMPLE = 256 << 10
_LARGEST_SAMPLE = 16 << 20
_FEWEST_LINES, _MOST_LINES = 3, 2_000


def understand(paths: Sequence[Path], config: ReadConfig, names: Sequence[str] = ()) -> Layout:
    """Return how the files at `paths` are to be read, by the largest of them and what a user says.

    Raises `InvalidDataset` with what was recognised and the parameter that settles it, and if the
    files, which messages call by `names`, are not written alike.
    """
    names, alone = names or [path.name for path in paths], len(paths) == 1
    files = list(zip(paths, names, strict=True))
    largest, its_name = max(files, key=lambda file: file[0].stat().st_size)
    with naming(its_name, alone=alone):
        layout = _understand_file(largest, config)
    if alone or layout.kind not in ("text", "wide"):
        return layout
    expected = _read_header(largest, layout)
    for path, name in files:
        with naming(name, alone=False):
            found = _read_header(path, layout)
        if found != expected:
            raise InvalidDataset(
                f"{name} begins with {quote(found)}, and {its_name} with {quote(expected)}; parts of one "
                "data set must have the same header"
            )
    return layout


def _read_header(path: Path, layout: Layout) -> str:
    """Return the lines before the first rating."""
    container = find_container(path)
    lines = _read_first_lines(path, container, Encoding(layout.encoding))
    return "\n".join(lines[: layout.n_header_lines])


def _understand_file(path: Path, config: ReadConfig) -> Layout:
    container = find_container(path)
    with open_unpacked(path, container) as file:
        head = file.read(512)
    if not head:
        raise InvalidDataset("the file is empty; at least one rating was expected")
    if head.startswith(PARQUET):
        if container.packed:
            raise InvalidDataset(f"the file is Parquet within {container.packed}; unpack it")
        return parquet.understand(path, config)
    refuse_foreign(head)
    given = config.format or FileFormat()
    encoding = _find_encoding(path, container, given)
    lines = _read_first_lines(path, container, encoding)
    first = next((line.strip() for line in lines if line.strip()), "")
    if not given.delimiter and first.startswith(("{", "[")):
        return json_lines.understand(lines, config, container, encoding.name)
    return _understand_text(dialect.find(lines, given), config, container, encoding)


def _find_encoding(path: Path, container: Container, given: FileFormat) -> Encoding:
    if given.encoding:
        return Encoding(encodings.check(given.encoding))
    with open_unpacked(path, container) as file:
        return encodings.find(file)


def _read_first_lines(path: Path, container: Container, encoding: Encoding) -> list[str]:
    """Return the first whole lines, without their ends; as an editor sees them."""
    with open_unpacked(path, container) as file:
        stream = recode(file, encoding.name)
        data = stream.read(_SAMPLE)
        while data.count(b"\n") < _FEWEST_LINES and len(data) < _LARGEST_SAMPLE:
            if not (more := stream.read(_SAMPLE)):
                break
            data += more
    text = data.decode("utf-8", "ignore")
    lines = io.StringIO(text, newline=None).read().split("\n")
    if len(lines) > 1 and (len(data) % _SAMPLE == 0 or not lines[-1]):
        lines.pop()  # cut off, or empty after the last line break
    return lines[:_MOST_LINES]


def _understand_text(
    found: Dialect, config: ReadConfig, container: Container, encoding: Encoding
) -> Layout:
    if not config.columns and _is_matrix(found):
        return wide.understand(found, container, encoding)
    if found.names:
        which = columns.find_by_name(found.names, config.columns)
    else:
        guessed = guessing.guess_columns(found.rows, found.decimal)
        which = columns.find_by_position(found.n_columns, config.columns, guessed)
    names = found.names or tuple(f"column {place + 1}" for place in range(found.n_columns))
    return found.make_layout(
        "text",
        container,
        encoding,
        columns=which.columns,
        names=names,
        guesses=tuple(filter(None, (encoding.guess, *which.guesses))),
    )


def _is_matrix(found: Dialect) -> bool:
    usual = columns.find_usual(found.names)
    return not usual["rating"] and wide.looks_wide(found)
