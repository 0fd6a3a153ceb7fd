"""Which key every record and blob has in the store, and the local cache of blobs.

datasets/<sha256>/…                      verified data, content-addressed
splits/<fingerprint>/…
runs/<run_id>/{plan,download,profile,split,report,manifest}.json
runs/<run_id>/<network>/{train,evaluation}.json, checkpoints/, bundle/
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from mftasks import records
from mftasks.errors import ChecksumMismatch, InvalidDataset, MissingRecord, StoreUnavailable
from mftasks.store import open_store
from mftasks.store.blobs import Data, sha256_of

if TYPE_CHECKING:
    from mftasks.settings import Settings

log = logging.getLogger(__name__)

R = TypeVar("R", bound=records.Record)

JSON = "application/json"
BINARY = "application/octet-stream"


def run_key(run_id: str, name: str) -> str:
    """Return the key of a file of a run: `plan.json`, `manifest.json`, …."""
    return f"runs/{run_id}/{name}"


def network_key(run_id: str, network: str, name: str) -> str:
    """Return the key of a file of one network in a run: `train.json`, `bundle/…`, …."""
    return f"runs/{run_id}/{network}/{name}"


class Workspace:
    """Read and write records and blobs of one store, with a local cache by sha256."""

    def __init__(self, given: Settings) -> None:
        self.settings = given
        self.store = open_store(given.store, s3_endpoint=given.s3_endpoint)
        self.cache = given.cache

    def find(self, key: str, kind: type[R]) -> R | None:
        """Read the record at `key`, or return None where there is none."""
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
        """Put bytes or a file at `key` if absent, and return a reference to them.

        Raises `ChecksumMismatch` where the key holds other bytes already.
        """
        ref = records.BlobRef(key=key, sha256=sha256_of(data), n_bytes=_size(data))
        if not self.store.put_if_absent(key, data, content_type):
            self.fetch(ref)
        return ref

    def fetch(self, ref: records.BlobRef) -> Path:
        """Return the path of a verified local copy of a blob, read-only by convention.

        A copy in the cache is trusted by its name: it got there by one rename after verification.
        Raises `MissingRecord`, and `ChecksumMismatch` where the store holds other bytes.
        """
        path = self.cache / ref.sha256[:2] / ref.sha256
        if path.is_file() and path.stat().st_size == ref.n_bytes:
            return path
        with self._temporary(path) as arriving:
            self.store.download(ref.key, arriving)
            found = sha256_of(arriving)
            if found != ref.sha256:
                raise ChecksumMismatch(
                    f"{self.store.uri}/{ref.key} has sha256 {found}, but {ref.sha256} was promised"
                )
            arriving.replace(path)
        return path

    @contextlib.contextmanager
    def _temporary(self, path: Path) -> Iterator[Path]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".fetch-")
            os.close(descriptor)
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"cache {self.cache}: {error}; free some room, or set MF_CACHE to another folder"
            ) from error


def _size(data: Data) -> int:
    return len(data) if isinstance(data, bytes) else data.stat().st_size
