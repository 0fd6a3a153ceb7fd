"""A file as a stream of UTF-8: unpacked and re-encoded while it is read, never in memory as a whole."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from mftasks.errors import InvalidDataset, quote

if TYPE_CHECKING:
    from mftasks.reading.files.first_bytes import Container

CHUNK = 1 << 20
MAX_BYTES = 64 << 30
MAX_RATIO = 200
COLONS = b"\x1f"
"""Stands for `::`, as the reader wants delimiters of one byte."""

_DAMAGED = (zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, RuntimeError)


@contextlib.contextmanager
def open_unpacked(path: Path, container: Container) -> Iterator[BinaryIO]:
    """Open the table within a file.

    Reading from it raises `InvalidDataset` for damaged archives, and for those that unpack into
    implausibly many bytes.
    """
    with contextlib.ExitStack() as stack:
        file: Any = stack.enter_context(path.open("rb"))
        if container.packed:
            bound = min(MAX_BYTES, MAX_RATIO * path.stat().st_size + CHUNK)
            opened = _open(file, container, stack)
            file = stack.enter_context(io.BufferedReader(_Bounded(opened, bound), CHUNK))
        yield cast("BinaryIO", file)


def recode(file: BinaryIO, encoding: str, *, colons: bool = False) -> BinaryIO:
    """Return a stream of UTF-8 of a file in another encoding; `::` becomes `COLONS` if asked for.

    Reading from it raises `InvalidDataset` for what is not in the encoding.
    """
    return io.BufferedReader(_Recoded(file, encoding, colons=colons), CHUNK)


def _open(file: BinaryIO, container: Container, stack: contextlib.ExitStack) -> BinaryIO:
    if container.packed == "gzip":
        return cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=file)))
    if container.packed == "zip":
        with _explain():
            archive = stack.enter_context(zipfile.ZipFile(file))
            return cast("BinaryIO", stack.enter_context(archive.open(container.member)))
    import pyarrow as pa

    return cast("BinaryIO", stack.enter_context(pa.CompressedInputStream(file, "zstd")))


@contextlib.contextmanager
def _explain() -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise InvalidDataset(f"the packed file is damaged: {quote(str(error))}") from error
    except OSError as error:
        if error.errno:
            raise  # the disk's fault, not the file's
        raise InvalidDataset(f"the packed file is damaged: {quote(str(error))}") from error


class _Bounded(io.RawIOBase):
    """An unpacked stream that ends in an error after `bound` bytes."""

    def __init__(self, file: BinaryIO, bound: int) -> None:
        self._file = file
        self._bound = bound
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _explain():
            data = self._file.read(len(buffer))
        self._done += len(data)
        if self._done > self._bound:
            raise InvalidDataset(
                f"the file unpacks into more than {self._bound:,} bytes; at most {MAX_RATIO} times its "
                "packed size are allowed"
            )
        buffer[: len(data)] = data
        return len(data)


class _Recoded(io.RawIOBase):
    """Text of some encoding as UTF-8, without a byte-order mark."""

    def __init__(self, file: BinaryIO, encoding: str, *, colons: bool) -> None:
        self._file = file
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._colons = colons
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            self._fill()
        data, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def _fill(self) -> None:
        raw = self._file.read(CHUNK)
        self._ended = not raw
        try:
            text = self._decoder.decode(raw, final=self._ended)
        except UnicodeError as error:
            reason = getattr(error, "reason", error)
            raise InvalidDataset(
                f"the file is not in {self._encoding}: {reason}; set format, such as "
                '{"encoding": "latin-1"}'
            ) from error
        data = text.encode("utf-8", "surrogatepass")
        if self._colons:
            while data.endswith(b":") and not self._ended:
                more = self._file.read(1)
                self._ended = not more
                data += more
            data = data.replace(b"::", COLONS)
        self._ready = data
