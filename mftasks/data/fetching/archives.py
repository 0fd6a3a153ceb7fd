"""Unpack chosen members of a zip; whatever else it holds is never written.

A member is written to a name of our own choice, so that names and links inside the zip have no effect.
"""

from __future__ import annotations

import errno
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

from mftasks.errors import ChecksumMismatch, InvalidDataset, quote

MAX_BYTES = 8 << 30
MAX_RATIO = 200

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, struct.error)


def extract(archive: Path, members: tuple[str, ...], folder: Path) -> list[Path]:
    """Write `members` of the zip into `folder`, and return where each lies.

    Raises `ChecksumMismatch` for a zip that is damaged, and `InvalidDataset` for one that lacks a
    member or unpacks into too many bytes.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            return [_extract(opened, name, folder) for name in members]
    except (*_DAMAGED, OSError) as error:
        # A damaged offset makes zipfile seek to a place that cannot be.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ChecksumMismatch(
            f"{archive.name} is damaged: {error}; a complete zip archive was expected"
        ) from error


def _extract(opened: zipfile.ZipFile, name: str, folder: Path) -> Path:
    """Write one member; zipfile itself reads no more bytes than the member announces."""
    archive = Path(opened.filename or "").name
    if name not in opened.namelist():
        held = ", ".join(map(quote, opened.namelist()[:10]))
        raise InvalidDataset(f"{archive} has no {name}; it holds {held or 'nothing'}")
    info = opened.getinfo(name)
    bound = min(MAX_BYTES, MAX_RATIO * info.compress_size)
    if info.file_size > bound:
        raise InvalidDataset(
            f"{archive} unpacks {name} into {info.file_size:,} bytes; at most {bound:,} are allowed "
            f"({MAX_RATIO} times its packed size, and never more than {MAX_BYTES:,})"
        )
    path = folder / Path(name).name
    with opened.open(info) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    return path
