from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mftasks.data.arrays import (
    Part,
    Vocabulary,
    positions,
    read_part,
    read_vocabulary,
    to_npz,
)

NUMBERS = np.array([1, 5, 196])
WORDS = np.array(["1", "b", "user-7"])


@pytest.mark.parametrize(
    ("ids", "known", "expected"),
    [
        ([196, 1, 2, 5, 900], NUMBERS, [2, 0, -1, 1, -1]),
        (["196", "x", "", "-5", "9" * 30], NUMBERS, [2, -1, -1, -1, -1]),
        (["0196", "+196", "1_96", "١٩٦", "196 "], NUMBERS, [-1, -1, -1, -1, -1]),
        (["a", 5], NUMBERS, [-1, 1]),
        ([196.0, 196.5, np.nan], NUMBERS, [2, -1, -1]),
        (["b", "user-77", "user-7"], WORDS, [1, -1, 2]),
        ([1, 2], WORDS, [0, -1]),
        ([], NUMBERS, []),
        (196, NUMBERS, 2),
        ([[1, 5], [196, 0]], NUMBERS, [[0, 1], [2, -1]]),
    ],
)
def test_an_id_is_found_at_its_position_or_nowhere(ids: Any, known: Any, expected: Any) -> None:
    found = positions(ids, known)
    assert found.dtype == np.int32
    assert found.tolist() == expected


def test_large_ids_are_told_apart() -> None:
    known = np.array([2**53, 2**53 + 1, 2**62])
    asked = [2**53 + 1, 2**62, 2**62 - 1]
    assert positions(asked, known).tolist() == [1, 2, -1]
    assert positions(list(map(str, asked)), known).tolist() == [1, 2, -1]


def test_a_part_comes_back_from_its_file(tmp_path: Path, tiny_ratings: Part) -> None:
    (tmp_path / "part.npz").write_bytes(to_npz(tiny_ratings))
    for written, read in zip(tiny_ratings, read_part(tmp_path / "part.npz"), strict=True):
        np.testing.assert_array_equal(written, read)
        assert written.dtype == read.dtype


def test_a_vocabulary_comes_back_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.npz").write_bytes(to_npz(Vocabulary(NUMBERS, WORDS)))
    read = read_vocabulary(tmp_path / "vocabulary.npz")
    assert read.user_ids.tolist() == NUMBERS.tolist()
    assert read.item_ids.tolist() == WORDS.tolist()


def test_equal_arrays_give_equal_bytes(tiny_ratings: Part) -> None:
    assert to_npz(tiny_ratings) == to_npz(Part(*(array.copy() for array in tiny_ratings)))
