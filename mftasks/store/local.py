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

from mftasks.errors import MissingRecord, StoreUnavailable
from mftasks.store import keys
from mftasks.store.blobs import CHUNK, Data, Stored, sha256_of

LOCK = ".lock"
ARRIVING = ".put-"


class LocalStore:
    """Bytes as files below a folder; one lock orders whatever changes a file of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = root.absolute().as_uri()

    def get(self, key: str) -> bytes:
        with self._explain_errors(key):
            return self._path(key).read_bytes()

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        data = self.get(key)
        return data, sha256_of(data)

    def download(self, key: str, path: Path) -> None:
        with self._explain_errors(key):
            shutil.copyfile(self._path(key), path)

    def exists(self, key: str) -> bool:
        with self._explain_errors(key):
            return self._path(key).is_file()

    def list(self, prefix: str) -> list[str]:
        return [stored.key for stored in self.list_with_times(prefix)]

    def list_with_times(self, prefix: str) -> Sequence[Stored]:
        folder = self._path(prefix.rpartition("/")[0])
        with self._explain_errors(prefix):
            found = map(self._describe, folder.rglob("*"))
            return sorted(stored for stored in found if stored and stored.key.startswith(prefix))

    def put(self, key: str, data: Data, content_type: str) -> None:
        with self._write_beside(key, data) as arriving, self._lock():
            arriving.replace(self._path(key))

    def put_if_absent(self, key: str, data: Data, content_type: str) -> bool:
        with self._write_beside(key, data) as arriving, self._lock():
            try:
                self._path(key).hardlink_to(arriving)
            except FileExistsError:
                return False
            return True

    def put_if_match(self, key: str, data: Data, content_type: str, etag: str) -> bool:
        with self._write_beside(key, data) as arriving, self._lock():
            path = self._path(key)
            if not path.exists() or sha256_of(path) != etag:
                return False
            arriving.replace(path)
            return True

    def delete(self, key: str) -> None:
        with self._explain_errors(key):
            if (path := self._path(key)).exists():
                with self._lock():
                    path.unlink(missing_ok=True)

    def delete_many(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.delete(key)

    def _describe(self, path: Path) -> Stored | None:
        """Describe an object; returns None for anything else, and for what was removed meanwhile."""
        key = path.relative_to(self.root).as_posix()
        if path.name.startswith(ARRIVING) or key == LOCK:
            return None
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                return Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
        return None

    def _path(self, key: str) -> Path:
        return self.root / keys.check(key)

    @contextlib.contextmanager
    def _explain_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise MissingRecord(f"{self.uri}/{key} is not there") from error
        except OSError as error:
            raise StoreUnavailable(f"store {self.uri}: {error}") from error

    @contextlib.contextmanager
    def _write_beside(self, key: str, data: Data) -> Iterator[Path]:
        """Give a complete, synced file beside the key's own, so that one rename puts it there."""
        target = self._path(key)
        arriving: Path | None = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=target.parent, prefix=ARRIVING, delete=False
            ) as file:
                arriving = Path(file.name)
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file, CHUNK)
                file.flush()
                os.fsync(file.fileno())
            arriving.chmod(0o644)
            yield arriving
        except OSError as error:
            raise StoreUnavailable(f"store {self.uri}: cannot write {key}: {error}") from error
        finally:
            if arriving is not None:
                arriving.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.root / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
