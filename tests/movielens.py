"""Small data sets in the formats in which MovieLens has been published; none of its data."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

from mftasks.data.catalog import Dataset

Row = tuple[int, int, float, int]

# Ids with gaps, and in no order; the timestamps are seconds of 1997 and later.
ROWS: list[Row] = [
    (7, 31, 5.0, 874965758),
    (2, 900, 3.0, 876893171),
    (2, 31, 4.0, 878542960),
    (9001, 4, 1.0, 876893119),
    (7, 4, 2.0, 889751712),
    (15, 131262, 3.0, 887431973),
]
TITLES = {
    "4": "Les Misérables (1995)",
    "31": "Dangerous Minds (1995)",
    "900": "American, An (1951)",
}


def half_stars(rows: list[Row]) -> list[Row]:
    """Return the rows with half a star less."""
    return [(user, item, rating - 0.5, moment) for user, item, rating, moment in rows]


def ratings(format: str, rows: Iterable[Row]) -> bytes:
    """Return rows as a file of that format."""
    separator = {"tab": "\t", "colons": "::", "csv": ","}[format]
    header = "userId,movieId,rating,timestamp\n" if format == "csv" else ""
    lines = (separator.join(f"{value:.12g}" for value in row) + "\n" for row in rows)
    return (header + "".join(lines)).encode()


def titles(dataset: Dataset) -> bytes:
    """Return `TITLES` as the data set's own file of titles."""
    if dataset.format == "csv":
        lines = [f'{item},"{title}",Drama' for item, title in TITLES.items()]
        return "\n".join(["movieId,title,genres", *lines]).encode()
    if dataset.format == "tab":
        lines = [f"{item}|{title}|01-Jan-1995||http://x|0|1" for item, title in TITLES.items()]
    else:
        lines = [f"{item}::{title}::Drama" for item, title in TITLES.items()]
    return "\n".join(lines).encode("latin-1")


def archive(dataset: Dataset, rows: list[Row]) -> bytes:
    """Return a zip that holds the rows where the data set's own zip has its ratings."""
    files = (ratings(dataset.format, rows), titles(dataset))
    return zip_of(dict(zip(dataset.members, files, strict=True)))


def zip_of(members: dict[str, bytes]) -> bytes:
    """Return a zip that holds `members`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return buffer.getvalue()


def wheel(folder: Path, rows: list[Row], version: str = "1.2.1") -> Path:
    """Write a wheel of RecBole's name that carries the rows as ml-100k, and return its path."""
    inter = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + ratings("tab", rows)
    item = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    item += "4\tLes Misérables\t1995\tDrama\n31\tDangerous Minds\t1995\tDrama\n"
    about = f"Metadata-Version: 2.1\nName: recbole\nVersion: {version}\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    data = "recbole/dataset_example/ml-100k/ml-100k"
    path = folder / f"recbole-{version}-py3-none-any.whl"
    path.write_bytes(
        zip_of(
            {
                f"{data}.inter": inter,
                f"{data}.item": item.encode(),
                f"recbole-{version}.dist-info/METADATA": about.encode(),
                f"recbole-{version}.dist-info/WHEEL": tags.encode(),
                f"recbole-{version}.dist-info/RECORD": b"",
            }
        )
    )
    return path
