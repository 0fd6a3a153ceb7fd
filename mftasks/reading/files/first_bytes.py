"""What a file is, by its first bytes: its name says nothing."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple

from mftasks.errors import InvalidDataset, quote

Packed = Literal["", "gzip", "zstd", "zip"]

PACKED: dict[bytes, Packed] = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
PARQUET = b"PAR1"
_FOREIGN = {
    b"PK\x05\x06": "an empty zip archive",
    b"BZh": "compressed with bzip2; unpack it, or compress it with gzip or zstd",
    b"\xfd7zXZ": "compressed with xz; unpack it, or compress it with gzip or zstd",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; export its sheet as CSV",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"\x89HDF": "HDF5; export the table as CSV or Parquet",
    b"\x93NUMPY": "a NumPy array; export it as CSV or Parquet",
    b"\x80\x02": "a Python pickle, which could run anything; export it as CSV or Parquet",
    b"\x80\x03": "a Python pickle, which could run anything; export it as CSV or Parquet",
    b"\x80\x04": "a Python pickle, which could run anything; export it as CSV or Parquet",
    b"\x80\x05": "a Python pickle, which could run anything; export it as CSV or Parquet",
    b"%PDF": "a PDF",
    b"ORC": "ORC; export it as Parquet",
    b"Obj\x01": "Avro; export it as Parquet",
    b"ARROW1": "an Arrow or Feather file; export it as Parquet",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"version https://git-lfs": "a pointer of Git LFS in the place of the file; fetch it with git lfs pull",
    b"<!doctype html": "a web page; the address may want a login, or be that of a page around the file",
    b"<html": "a web page; the address may want a login, or be that of a page around the file",
    b"<?xml": "XML; export it as CSV",
}
_MOST_NAMES = 10


class Container(NamedTuple):
    """How a file is packed, and which of its members is the table, if it is a zip."""

    packed: Packed = ""
    member: str = ""


def find_container(path: Path) -> Container:
    """Return how the file at `path` is packed.

    Raises `InvalidDataset` for a file that is empty, and for a zip without exactly one table.
    """
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise InvalidDataset("the file is empty; at least one rating was expected")
    found = (kind for start, kind in PACKED.items() if head.startswith(start))
    packed: Packed = next(found, "")
    return Container(packed, _find_member(path) if packed == "zip" else "")


def refuse_foreign(head: bytes) -> None:
    """Raise `InvalidDataset` if the first bytes of an unpacked file are those of no table."""
    start = head.lstrip()[:64].lower() if head.lstrip()[:1] == b"<" else head
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise InvalidDataset(f"the file is {what}; expected CSV, Parquet or JSON lines")
    if head[257:262] == b"ustar":
        raise InvalidDataset("the file is a tar archive; unpack it")
    if re.match(rb"[\x80\x00-\x08]", head):
        raise InvalidDataset(
            "the file is not text, and of no known kind; expected CSV, Parquet or JSON lines"
        )


def _find_member(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InvalidDataset(f"the file is a damaged zip archive: {quote(str(error))}") from error
    if "[Content_Types].xml" in names:
        raise InvalidDataset("the file is an Excel workbook; export its sheet as CSV")
    tables = [name for name in names if not _is_hidden(name)]
    if len(tables) != 1:
        shown = ", ".join(map(quote, tables[:_MOST_NAMES]))
        more = f" and {len(tables) - _MOST_NAMES:,} more" if len(tables) > _MOST_NAMES else ""
        raise InvalidDataset(
            f"the file is a zip of {len(tables):,} files: {shown}{more}; expected one table, so "
            "unpack it and name the file"
        )
    return tables[0]


def _is_hidden(name: str) -> bool:
    parts = name.split("/")
    return parts[-1] == "" or parts[0] == "__MACOSX" or parts[-1].startswith(".")
