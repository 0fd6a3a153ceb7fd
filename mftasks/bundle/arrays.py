"""An npz file whose arrays lie so that a process can map them into memory instead of reading them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

npy: Any = np.lib.format  # it has no types

ALIGNMENT = 64
LOCAL_HEADER = 30  # bytes of a member's header in a zip file, before its name and its padding
PADDING = 0xD935  # the kind of extra field that Android's zipalign gave to this
FIELD = 4  # bytes before the content of an extra field


def write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as NumPy's `savez` does, each from a multiple of `ALIGNMENT` bytes on."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            header = io.BytesIO()
            values = np.asanyarray(array)
            npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(values))
            begins = archive.start_dir + LOCAL_HEADER + len(member.filename) + FIELD
            member.extra = _pad(-(begins + header.tell()) % ALIGNMENT)
            member.file_size = header.tell() + values.nbytes
            with archive.open(member, "w") as file:
                file.write(header.getvalue())
                file.write(np.ascontiguousarray(values).view(np.uint8).data)


def _pad(n_bytes: int) -> bytes:
    return PADDING.to_bytes(2, "little") + n_bytes.to_bytes(2, "little") + bytes(n_bytes)


def map_file(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file that `write` wrote, read-only; pages are read as they are used."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        return {
            member.filename.removesuffix(".npy"): _map_member(path, file, member)
            for member in archive.infolist()
        }


def _map_member(path: Path, file: Any, member: zipfile.ZipInfo) -> NDArray[Any]:
    file.seek(member.header_offset)
    head = file.read(LOCAL_HEADER)
    skipped = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    file.seek(skipped, io.SEEK_CUR)
    npy.read_magic(file)
    shape, _, kind = npy.read_array_header_1_0(file)
    if 0 in shape:
        return np.empty(shape, kind)
    return np.memmap(path, kind, "r", file.tell(), shape)
