"""Bytes to be stored, in memory or in a file, their sha256, and what a store tells of them."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

Data = bytes | Path
CHUNK = 1 << 20


class Stored(NamedTuple):
    """Say what a store holds at a key, and since when, in UTC by the store's own clock."""

    key: str
    n_bytes: int
    modified: datetime


def sha256_of(data: Data) -> str:
    """Return the sha256 of bytes or of a file, in hex."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
