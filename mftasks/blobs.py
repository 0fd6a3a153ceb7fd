"""Bytes to be stored, in memory or in a file, and their sha256."""

from __future__ import annotations

import hashlib
from pathlib import Path

Data = bytes | Path
CHUNK = 1 << 20


def sha256_of(data: Data) -> str:
    """Return the sha256 of bytes or of a file, in hex."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
