"""Read the titles of items, in each of the layouts in which MovieLens has been published."""

from __future__ import annotations

import csv
from pathlib import Path


def read(path: Path) -> dict[str, str]:
    """Return id → title, such as "1" → "Toy Story (1995)"; the layout follows from the file's name.

    `u.item` (ml-100k), `movies.dat` (ml-1m, ml-10m), `movies.csv` (later ones), and RecBole's
    `*.item`, which keeps the year in a column of its own.
    """
    # Not splitlines: it also splits at characters that a title may hold.
    lines = _decode(path.read_bytes()).replace("\r\n", "\n").split("\n")
    if path.name == "u.item":
        rows = [line.split("|", 2)[:2] for line in lines]
    elif path.suffix == ".dat":
        rows = [line.split("::", 2)[:2] for line in lines]
    elif path.suffix == ".item":
        rows = [_add_year(line) for line in lines[1:]]
    else:
        rows = [row[:2] for row in csv.reader(lines)][1:]
    return {row[0]: row[1].strip() for row in rows if len(row) == 2 and row[1].strip()}


def _decode(data: bytes) -> str:
    """Decode UTF-8, or Latin-1 as the first releases have it."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _add_year(line: str) -> list[str]:
    item, title, year, *_ = [*line.split("\t"), "", ""]
    return [item, f"{title} ({year})" if year.isdigit() else title]
