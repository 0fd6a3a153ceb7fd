"""Verified copies of blobs on this host, by sha256; losing them costs time only."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mftasks.errors import StoreUnavailable
from mftasks.store.blobs import verify

log = logging.getLogger(__name__)

IN_USE_SECONDS = 3600.0
"""A file that was used within this time is not removed: a step may be reading it."""


class Cache:
    """A folder of copies; when it holds over `limit` bytes, those used longest ago are removed."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def path(self, sha256: str) -> Path:
        """Return the path of the copy of a blob, if there is one."""
        return self.folder / sha256[:2] / sha256

    def find(self, sha256: str, n_bytes: int) -> Path | None:
        """Return the path of a copy; it was verified before one rename gave it its name."""
        path = self.path(sha256)
        with self._explain_errors(), contextlib.suppress(FileNotFoundError):
            if path.stat().st_size == n_bytes:
                os.utime(path)
                return path
        return None

    def fill(self, sha256: str, download: Callable[[Path], None], what: str) -> Path:
        """Return the path of a copy that is downloaded now.

        Raises `ChecksumMismatch` if `what` has another sha256.
        """
        path = self.path(sha256)
        with self.open_folder(".fetch-") as folder:
            arriving = folder / "blob"
            download(arriving)
            verify(arriving, sha256, what)
            path.parent.mkdir(exist_ok=True)
            arriving.replace(path)
            self._remove_oldest()
        return path

    @contextlib.contextmanager
    def open_folder(self, prefix: str) -> Iterator[Path]:
        """Give a folder in the cache that is removed when the work is done."""
        with self._explain_errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=prefix) as name:
                yield Path(name)

    def _remove_oldest(self) -> None:
        """Remove copies, and what killed processes left, until `limit` is kept."""
        files = sorted(self._list_files())
        n_bytes = sum(size for _, size, _ in files)
        for used_at, size, path in files:
            if n_bytes <= self.limit or used_at > time.time() - IN_USE_SECONDS:
                return
            log.info("cache %s: removing %s, used longest ago", self.folder, path.name)
            path.unlink(missing_ok=True)
            n_bytes -= size

    def _list_files(self) -> Iterator[tuple[float, int, Path]]:
        for pattern in ("[0-9a-f][0-9a-f]", ".fetch-*", ".download-*"):
            for folder in self.folder.glob(pattern):
                with contextlib.suppress(FileNotFoundError):  # another process may remove it
                    for path in folder.iterdir():
                        with contextlib.suppress(FileNotFoundError):
                            status = path.stat()
                            yield status.st_mtime, status.st_size, path

    @contextlib.contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(
                f"cache {self.folder}: {error}; free some room, or set MF_CACHE to another folder"
            ) from error
