"""Bytes to be stored, in memory or in a file, and the one check of them against their sha256."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mftasks.errors import ChecksumMismatch
from mftasks.records import BlobRef

Data = bytes | Path
CHUNK = 1 << 20


class Stored(NamedTuple):
    """What a store holds at a key, and since when, in UTC by the store's own clock."""

    key: str
    n_bytes: int
    modified: datetime


def sha256_of(data: Data) -> str:
    """Return the sha256 of bytes or of a file, in hex."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refer_to(key: str, data: Data) -> BlobRef:
    """Return a reference to `data`, as it is or will be under `key`."""
    n_bytes = len(data) if isinstance(data, bytes) else data.stat().st_size
    return BlobRef(key=key, sha256=sha256_of(data), n_bytes=n_bytes)


def verify(data: Data, sha256: str, what: str) -> None:
    """Raise `ChecksumMismatch` if `data`, which a message calls `what`, has another sha256."""
    found = sha256_of(data)
    if found != sha256:
        raise ChecksumMismatch(f"{what} has sha256 {found}, but {sha256} was expected")
