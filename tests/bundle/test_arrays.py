from __future__ import annotations

from pathlib import Path

import numpy as np

from mftasks.bundle import arrays

GIVEN = {
    "mu": np.float32(3.5),
    "user_bias": np.arange(7, dtype=np.float32),
    "user_vectors": np.arange(21, dtype=np.float32).reshape(7, 3),
    "none": np.empty((0, 3), np.float32),
}


def test_numpy_reads_what_is_written_and_it_can_be_mapped(tmp_path: Path) -> None:
    arrays.write(tmp_path / "a.npz", GIVEN)
    mapped = arrays.map_file(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as read:
        assert list(read) == list(mapped) == list(GIVEN)
        for name, array in GIVEN.items():
            np.testing.assert_array_equal(read[name], array)
            np.testing.assert_array_equal(mapped[name], array)
            assert mapped[name].dtype == array.dtype


def test_mapped_arrays_are_aligned_and_read_only(tmp_path: Path) -> None:
    arrays.write(tmp_path / "a.npz", GIVEN)
    for array in arrays.map_file(tmp_path / "a.npz").values():
        assert array.size == 0 or isinstance(array, np.memmap)
        assert array.ctypes.data % arrays.ALIGNMENT == 0 or array.size == 0
        assert not (array.size and array.flags.writeable)


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        arrays.write(tmp_path / name, GIVEN)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
