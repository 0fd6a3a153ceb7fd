"""In which encoding a text file is: by its byte-order mark, else by whether it is valid UTF-8."""

from __future__ import annotations

import codecs
from typing import BinaryIO, NamedTuple

from mftasks.errors import InvalidDataset
from mftasks.reading.files.unpacking import CHUNK

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WESTERN = "cp1252"
_UNUSED = (0x81, 0x8D, 0x8F, 0x90, 0x9D)  # by Windows-1252
_UTF16_SHARE = 0.3


class Encoding(NamedTuple):
    """An encoding by its name in Python, and the sentence that says so if it is a guess."""

    name: str
    guess: str = ""


def check(name: str) -> str:
    """Return the encoding that a user names; raises `InvalidDataset` for one that Python lacks."""
    try:
        return codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise InvalidDataset(
            f"no encoding is called {name!r}; set format to one such as "
            '{"encoding": "utf-8"}, "utf-16" or "latin-1"'
        ) from error


def find(file: BinaryIO) -> Encoding:
    """Return the encoding of an unpacked file, which is read to its end if it may be UTF-8."""
    head = file.read(CHUNK)
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return Encoding(name)
    if name := _find_utf16(head[:4096]):
        return Encoding(name, f"read as {name.upper()}, as every other byte is zero")
    if b"\0" in head[:4096]:
        raise InvalidDataset(
            "the file is not text: it holds NUL; expected CSV, Parquet or JSON lines"
        )
    return _find_utf8(file, head)


def _find_utf16(head: bytes) -> str:
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(zeros) > 1 and zeros.count(0) > _UTF16_SHARE * len(zeros):
            return name
    return ""


def _find_utf8(file: BinaryIO, data: bytes) -> Encoding:
    decoder = codecs.getincrementaldecoder("utf-8")()
    n_lines, pending = 1, False
    while data:
        if pending or not data.isascii():
            try:
                decoder.decode(data)
            except UnicodeDecodeError as error:
                line = n_lines + data[: error.start].count(b"\n")
                return _guess_western(file, data, line)
            pending = bool(decoder.getstate()[0])
        n_lines += data.count(b"\n")
        data = file.read(CHUNK)
    return _guess_western(file, b"", n_lines) if pending else Encoding("utf-8")


def _guess_western(file: BinaryIO, data: bytes, line: int) -> Encoding:
    name = WESTERN
    while data:
        if any(byte in data for byte in _UNUSED):
            name = "latin-1"
        data = file.read(CHUNK)
    return Encoding(name, f"read as {name}, as line {line} is not UTF-8")
