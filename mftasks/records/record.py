"""What all records are made of."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Fraction = Annotated[float, Meta(ge=0.0, lt=1.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Count = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Width = Annotated[int, Meta(ge=1, le=4096)]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen, validated value that is stored as one JSON object."""


class BlobRef(Record, frozen=True, kw_only=True):
    """Bytes in the store."""

    key: str
    sha256: str
    n_bytes: Count
