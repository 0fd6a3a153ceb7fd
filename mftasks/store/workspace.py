"""Records and blobs of one store by key, and verified local copies of blobs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from mftasks import records
from mftasks.errors import InvalidDataset, MissingRecord
from mftasks.store import open_store
from mftasks.store.blobs import Data, refer_to
from mftasks.store.cache import Cache

if TYPE_CHECKING:
    from mftasks.settings import Settings

log = logging.getLogger(__name__)

R = TypeVar("R", bound=records.Record)

JSON = "application/json"
BINARY = "application/octet-stream"


class Workspace:
    """Records and blobs of one store, with a local cache of blobs by sha256."""

    def __init__(self, given: Settings) -> None:
        self.settings = given
        self.store = open_store(given.store, s3_endpoint=given.s3_endpoint)
        self.cache = Cache(given.cache, given.cache_bytes)

    def find(self, key: str, kind: type[R]) -> R | None:
        """Read the record at `key`, or return None if there is none."""
        try:
            return self.read(key, kind)
        except MissingRecord:
            return None

    def find_done(self, key: str, kind: type[R]) -> R | None:
        """Read the record of a step that is done already, and log that the step does nothing more."""
        found = self.find(key, kind)
        if found is not None:
            log.info("%s exists: nothing to do; only a new run does it again", key)
        return found

    def read(self, key: str, kind: type[R]) -> R:
        """Read the record at `key`; raises `MissingRecord`, or `InvalidDataset` if malformed."""
        data = self.store.get(key)
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError as error:
            raise InvalidDataset(f"{key} is not a {kind.__name__}: {error}") from error

    def write(self, key: str, record: R) -> R:
        """Put `record` at `key` if absent; return the record that is there afterwards."""
        data = msgspec.json.format(msgspec.json.encode(record), indent=1)
        if self.store.put_if_absent(key, data, JSON):
            return record
        return self.read(key, type(record))

    def put_blob(self, key: str, data: Data, content_type: str = BINARY) -> records.BlobRef:
        """Put bytes or a file at `key`, which names their content, and return a reference to them."""
        self.store.put(key, data, content_type)
        return refer_to(key, data)

    def fetch(self, ref: records.BlobRef) -> Path:
        """Return the path of a verified local copy of a blob, read-only by convention.

        Raises `MissingRecord`, and `ChecksumMismatch` if the store holds other bytes.
        """
        return self.cache.find(ref.sha256, ref.n_bytes) or self._download(ref)

    def _download(self, ref: records.BlobRef) -> Path:
        name = f"{self.store.uri}/{ref.key}"
        return self.cache.fill(ref.sha256, lambda path: self.store.download(ref.key, path), name)
