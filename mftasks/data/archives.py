"""Unpack chosen members of a zip, and nothing that the zip would rather have us do.

An archive from the net may name files outside its folder, hold links, or unpack into more bytes than
the disk has. Such an archive is refused as a whole; only the members asked for are ever written.
"""

from __future__ import annotations

import errno
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from mftasks.errors import ChecksumMismatch, InvalidDataset

MAX_BYTES = 8 << 30
MAX_RATIO = 200
CHUNK = 1 << 20

_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    ValueError,
    struct.error,
    OSError,
)


def extract(archive: Path, members: tuple[str, ...], folder: Path) -> list[Path]:
    """Write `members` of the zip into `folder`, and return where each lies.

    Raises `ChecksumMismatch` for a zip that is damaged, and `InvalidDataset` for one that lacks a
    member, names a file outside its folder, holds a link, or unpacks into too many bytes.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                _refuse_hostile(archive.name, info)
            return [_extract(opened, name, folder) for name in members]
    except _DAMAGED as error:
        # A damaged offset makes zipfile seek to a place that cannot be.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ChecksumMismatch(
            f"{archive.name} is damaged: {error}; a complete zip archive was expected"
        ) from error


def _refuse_hostile(archive: str, info: zipfile.ZipInfo) -> None:
    # zipfile cuts a name at a NUL byte, and turns backslashes only on Windows.
    name = info.orig_filename.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        raise InvalidDataset(
            f"{archive} names the file {info.orig_filename!r} outside its folder; refused"
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InvalidDataset(f"{archive} holds a link, {info.orig_filename!r}; refused")


def _extract(opened: zipfile.ZipFile, name: str, folder: Path) -> Path:
    archive = Path(opened.filename or "").name
    try:
        info = opened.getinfo(name)
    except KeyError as error:
        held = ", ".join(opened.namelist()[:10])
        raise InvalidDataset(f"{archive} has no {name}; it holds {held or 'nothing'}") from error
    bound = min(MAX_BYTES, MAX_RATIO * info.compress_size)
    _refuse_bomb(archive, name, info.file_size, bound)
    path = folder / Path(name).name
    written = 0
    with opened.open(info) as source, path.open("wb") as target:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            _refuse_bomb(archive, name, written, bound)
            target.write(chunk)
    return path


def _refuse_bomb(archive: str, name: str, n_bytes: int, bound: int) -> None:
    if n_bytes > bound:
        raise InvalidDataset(
            f"{archive} unpacks {name} into {n_bytes:,} bytes or more; at most {bound:,} are allowed "
            f"({MAX_RATIO} times its packed size, and never more than {MAX_BYTES:,})"
        )
