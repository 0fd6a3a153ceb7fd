"""Damaged files of ratings, read by the product and, apart from it, by Python's own parsers.

python -m tests.reading.mutating FOLDER FIRST N   reads the files of N seeds, and prints what went wrong

Each file must be read as the other parser reads it, or be refused by an error of the product's. A
process of its own bounds the time and the memory.
"""

from __future__ import annotations

import csv
import faulthandler
import gzip
import io
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mftasks import reading
from mftasks.data import checks
from mftasks.data.catalog import Counts
from mftasks.data.table import MISSING, RatingsTable
from mftasks.devices.memory import peak_rss_bytes
from mftasks.errors import MfError
from mftasks.records import Layout, ReadConfig

SECONDS = 20
"""A file that takes longer ends the process with a traceback."""

NOTHING = ("", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "#N/A")
NO_RATING = (*NOTHING, "None", "none", "-", "\\N")
_NUMBER = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*")
_HEADERS = (
    ["user_id", "item_id", "rating", "timestamp", "review"],
    ["userId", "movieId", "rating", "timestamp", "text"],
    ["User-ID", "ISBN", "Book-Rating", "date", "title"],
)


class Original(NamedTuple):
    """A good file, before it is damaged."""

    data: bytes
    delimiter: str


class Outcome(NamedTuple):
    """What became of a file: how many rows agree, or the refusal."""

    n_rows: int = 0
    refusal: str = ""


def draw_original(draw: random.Random) -> Original:
    """Return a good file of any of the usual ways to write one."""
    timed, texts = draw.random() < 0.6, draw.random() < 0.4
    rows = [_draw_row(draw, timed=timed, texts=texts) for _ in range(draw.randint(3, 120))]
    delimiter = draw.choice([",", ",", ";", "\t", "|"])
    if draw.random() < 0.15:
        names = draw.choice(_HEADERS)
        lines = (json.dumps(dict(zip(names, map(_parse, row), strict=False))) for row in rows)
        return Original("\n".join(lines).encode(), ",")
    file = io.StringIO()
    quoting = csv.QUOTE_ALL if draw.random() < 0.2 else csv.QUOTE_MINIMAL
    ends = draw.choice(["\n", "\n", "\r\n", "\r"])
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=ends)
    if draw.random() < 0.7:
        names = draw.choice(_HEADERS)
        writer.writerow(names[: 3 + timed] + names[4:] * texts)
    writer.writerows(rows)
    encoding = draw.choice(["utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16"])
    return Original(file.getvalue().encode(encoding, "replace"), delimiter)


def _draw_row(draw: random.Random, *, timed: bool, texts: bool) -> list[str]:
    user = draw.choice(["", "u", "Ä"]) + str(draw.randint(1, 400))
    row = [user, f"{draw.randint(1, 90):03d}", draw.choice("12345")]
    row += [str(draw.randint(10**9, 2 * 10**9))] * timed
    words = ["fine", 'so "so"', "a, b; c", "two\nlines", "é", ""]
    return row + [draw.choice(words)] * texts


def _parse(word: str) -> Any:
    return int(word) if re.fullmatch(r"[1-9]\d*", word) else word


def damage(draw: random.Random, original: Original) -> bytes:
    """Return the file with a few changes of one or two kinds."""
    data = bytearray(original.data)
    for kind in draw.choices(_DAMAGES, k=draw.choice([1, 1, 2])):
        for _ in range(draw.choice([1, 1, 2, 5])):
            if data:
                kind(draw, data, original.delimiter.encode())
    return gzip.compress(bytes(data), mtime=0) if draw.random() < 0.1 else bytes(data)


def _flip(draw: random.Random, data: bytearray, _: bytes) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _cut(draw: random.Random, data: bytearray, _: bytes) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice([1, 3, 20, len(data)])]


def _swap_delimiter(draw: random.Random, data: bytearray, delimiter: bytes) -> None:
    places = [at for at, byte in enumerate(data) if byte == delimiter[0]]
    if places:
        data[draw.choice(places)] = draw.choice(b",;\t| :\n")


def _insert(what: Sequence[bytes]) -> Callable[[random.Random, bytearray, bytes], None]:
    def insert(draw: random.Random, data: bytearray, _: bytes) -> None:
        at = draw.randrange(len(data) + 1)
        data[at:at] = draw.choice(what)

    return insert


def _repeat(draw: random.Random, data: bytearray, _: bytes) -> None:
    start = draw.randrange(len(data))
    chunk = data[start : start + draw.randint(1, 60)]
    at = draw.randrange(len(data) + 1)
    data[at:at] = chunk


_DAMAGES = (
    *(_flip, _cut, _swap_delimiter, _repeat),
    _insert([b"\0"]),
    _insert([b'"', b'""', b'"""', b"'"]),
    _insert([b"9" * 40, b"1e999", b"-", b"99999999999", b"0x1F", b"1e5", b"nan", b"NULL"]),
    _insert(["é".encode(), "é".encode("latin-1"), "é".encode("utf-16"), b"\xef\xbb\xbf", b"\xff"]),
    _insert([b"\n", b"\r", b"\r\n", b"\n\n", b"\x1a", b" ", b"\t", b"\xc2\xa0", b"\xe2\x80\x8b"]),
)


def read_both(path: Path) -> Outcome:
    """Read a file by the product and by the other parser; raises `AssertionError` if they disagree."""
    config = ReadConfig()
    try:
        layout = reading.understand([path], config)
        found = reading.read([path], layout, config)
    except MfError as error:
        return Outcome(refusal=str(error))
    data = path.read_bytes()
    text = (gzip.decompress(data) if layout.packed else data).decode(layout.encoding)
    if layout.kind == "wide":
        return Outcome(refusal="taken for a matrix")
    rows = _read_json(text, layout) if layout.kind == "json" else _read_text(text, layout)
    good = [row for row in rows if row is not None]
    assert found.unreadable.n_rows == len(rows) - len(good), (found.unreadable, rows)
    _compare(found.table, good)
    cleaned = reading.clean(found, config)
    checks.check(cleaned.table, checks.Expected(None, Counts(), needs_timestamps=False))
    return Outcome(len(good))


def _read_text(text: str, layout: Layout) -> list[list[str] | None]:
    """Return the cells of each row, None for one that holds no rating."""
    text = text.removeprefix("\ufeff")
    for _ in range(layout.n_header_lines):
        text = re.sub(r"\A[^\r\n]*(\r\n|\r|\n|\Z)", "", text)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=layout.delimiter,
        quotechar=layout.quote or None,
        quoting=csv.QUOTE_MINIMAL if layout.quote else csv.QUOTE_NONE,
    )
    return [_pick(row, layout) for row in reader if row]


def _pick(row: list[str], layout: Layout) -> list[str] | None:
    if len(row) != len(layout.names):
        return None
    cells = [row[place] for place in layout.columns.values()]
    rating = cells[list(layout.columns).index("rating")].strip()
    is_rating = rating in NO_RATING or _NUMBER.fullmatch(rating.replace(layout.decimal, "."))
    return cells if is_rating else None


def _read_json(text: str, layout: Layout) -> list[list[str] | None]:
    fields = [layout.names[place] for place in layout.columns.values()]
    objects = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [[_show(one.get(field)) for field in fields] for one in objects]


def _show(value: Any) -> str:
    return "" if value is None else str(value)


def _compare(table: RatingsTable, rows: Sequence[list[str]]) -> None:
    """Assert that a table holds the rows, in their order."""
    assert table.n_ratings == len(rows), (table.n_ratings, len(rows))
    users, items = (ids.known[ids.codes].tolist() for ids in (table.users, table.items))
    for n, row in enumerate(rows):
        assert _is_same_id(users[n], row[0]), (users[n], row)
        assert _is_same_id(items[n], row[1]), (items[n], row)
        expected = _to_float(row[2])
        assert np.array_equal(table.ratings[n], expected, equal_nan=True), (table.ratings[n], row)
    times = [row[3] for row in rows if len(row) > 3]
    if times and all(re.fullmatch(r"1\d{9}", word) for word in times):
        assert table.timestamps is not None
        assert table.timestamps.tolist() == list(map(int, times))


def _to_float(word: str) -> np.float32:
    word = word.strip().replace(",", ".")
    with np.errstate(over="ignore"):
        return np.float32("nan" if word in NO_RATING else word)


def _is_same_id(found: Any, word: str) -> bool:
    if isinstance(found, str):
        return found == word
    return word.strip() in NOTHING if found == MISSING else Decimal(word) == found


def main(folder: Path, first: int, n: int) -> None:
    """Read the files of some seeds, and print one line for each that went wrong, and a last one."""
    n_read = 0
    for seed in range(first, first + n):
        draw = random.Random(seed)
        path = folder / f"{seed}"
        path.write_bytes(damage(draw, draw_original(draw)))
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            n_read += bool(read_both(path).n_rows)
        except BaseException as error:
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}")
        faulthandler.cancel_dump_traceback_later()
        path.unlink()
    print(json.dumps({"n_read": n_read, "peak_bytes": peak_rss_bytes()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
