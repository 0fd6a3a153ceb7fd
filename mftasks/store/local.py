"""A store in a folder, for one machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mftasks.errors import InvalidPlan, MissingRecord, StoreUnavailable
from mftasks.store.blobs import CHUNK, Data, Stored, sha256_of


class LocalStore:
    """Keep bytes as files below a folder; writers on one host exclude each other by a lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = root.absolute().as_uri()

    def get(self, key: str) -> bytes:
        with self._reading(key):
            return self._path(key).read_bytes()

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        data = self.get(key)
        return data, sha256_of(data)

    def download(self, key: str, path: Path) -> None:
        with self._reading(key):
            shutil.copyfile(self._path(key), path)

    def exists(self, key: str) -> bool:
        with self._reading(key):
            return self._path(key).is_file()

    def list(self, prefix: str) -> list[str]:
        return [stored.key for stored in self.list_with_times(prefix)]

    def list_with_times(self, prefix: str) -> Sequence[Stored]:
        folder = self._path(prefix.rpartition("/")[0])
        with self._reading(prefix):
            found = (
                self._stored(path) for path in folder.rglob("*") if not path.name.startswith(".")
            )
            return sorted(stored for stored in found if stored and stored.key.startswith(prefix))

    def put(self, key: str, data: Data, content_type: str) -> None:
        with self._written(key, data) as written:
            written.replace(self._path(key))

    def put_if_absent(self, key: str, data: Data, content_type: str) -> bool:
        with self._written(key, data) as written:
            try:
                self._path(key).hardlink_to(written)
            except FileExistsError:
                return False
            return True

    def put_if_match(self, key: str, data: Data, content_type: str, etag: str) -> bool:
        with self._locked(), contextlib.suppress(MissingRecord):
            if self.get_with_etag(key)[1] == etag:
                self.put(key, data, content_type)
                return True
        return False

    def delete(self, key: str) -> None:
        with self._reading(key):
            self._path(key).unlink(missing_ok=True)

    def delete_many(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.delete(key)

    def _stored(self, path: Path) -> Stored | None:
        """Describe a file; returns None for a folder, and for what went while others were read."""
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                key = path.relative_to(self.root).as_posix()
                return Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
        return None

    def _path(self, key: str) -> Path:
        if ".." in key.split("/") or key.startswith("/"):
            raise InvalidPlan(f"key {key!r} leaves the store; keys are relative and without '..'")
        return self.root / key

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise MissingRecord(f"{self.uri}/{key} is not there") from error
        except OSError as error:
            raise StoreUnavailable(f"store {self.uri}: {error}") from error

    @contextlib.contextmanager
    def _written(self, key: str, data: Data) -> Iterator[Path]:
        """Give a complete, synced file beside the key's own, so that one rename publishes it."""
        target = self._path(key)
        temporary: Path | None = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=target.parent, prefix=".put-", delete=False
            ) as file:
                temporary = Path(file.name)
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file, CHUNK)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            yield temporary
        except OSError as error:
            raise StoreUnavailable(f"store {self.uri}: cannot write {key}: {error}") from error
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
