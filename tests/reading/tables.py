"""Write small files of ratings, read them by the product, and give back plain rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mftasks import reading
from mftasks.data.table import MISSING, RatingsTable
from mftasks.records import Check, Layout, ReadConfig

Row = tuple[Any, Any, float, int | None]


def put(folder: Path, data: str | bytes, name: str = "ratings") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def understand(path: Path, **config: Any) -> Layout:
    return reading.understand([path], ReadConfig(**config))


def read(path: Path, layout: Layout | None = None, **config: Any) -> reading.Reading:
    return reading.read([path], layout or understand(path, **config), ReadConfig(**config))


def load(path: Path, **config: Any) -> reading.Cleaned:
    return reading.load([path], understand(path, **config), ReadConfig(**config))


def rows(table: RatingsTable) -> list[Row]:
    """Return the rows of a table as the file had them; what is missing is None."""
    users = table.users.known[table.users.codes].tolist()
    items = table.items.known[table.items.codes].tolist()
    times = [None] * table.n_ratings if table.timestamps is None else table.timestamps.tolist()
    cells = zip(users, items, table.ratings.tolist(), times, strict=True)
    return [tuple(None if cell in (MISSING, "") else cell for cell in row) for row in cells]


def find(checks: tuple[Check, ...], name: str) -> Check:
    """Return the rule of a name that does not hold."""
    [found] = [check for check in checks if check.name == name and not check.passed]
    return found
