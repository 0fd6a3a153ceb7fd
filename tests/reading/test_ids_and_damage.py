"""Ids are what the file says, and a damaged file is invalid data, never a crash."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mftasks.data.table import MISSING
from mftasks.errors import InvalidDataset
from tests.reading import tables


def read_ids(path: Path, *users: str) -> list[int | str]:
    path.write_text("user_id,item_id,rating\n" + "".join(f"{user},1,3\n" for user in users))
    found = tables.read(path).table.users
    return found.known[found.codes].tolist()


@pytest.mark.parametrize("word", ["007", "0x10", "+5", "1e3", "-0", "12 ", "9" * 19, "x"])
def test_an_id_is_what_the_file_writes(tmp_path: Path, word: str):
    assert read_ids(tmp_path / "r.csv", "7", word, "16", "5") == ["7", word, "16", "5"]


def test_an_id_with_a_nul_is_refused_as_arrays_would_lose_it(tmp_path: Path):
    with pytest.raises(InvalidDataset, match="NUL"):
        read_ids(tmp_path / "r.csv", "x", "x\0")


def test_a_column_of_plain_numbers_is_numbers(tmp_path: Path):
    assert read_ids(tmp_path / "r.csv", "10", "9", "0", "-3", '"4"') == [10, 9, 0, -3, 4]
    assert read_ids(tmp_path / "r.csv", "10", "NULL", "9", "") == [10, MISSING, 9, MISSING]


def test_whole_numbers_with_a_point_are_numbers_if_all_are(tmp_path: Path):
    assert read_ids(tmp_path / "r.csv", "21", "21.0", "7.000", "") == [21, 21, 7, MISSING]
    assert read_ids(tmp_path / "r.csv", "21", "21.0", "7.5") == ["21", "21.0", "7.5"]
    assert read_ids(tmp_path / "r.csv", "007.0", "7.0") == ["007.0", "7.0"]


def test_damaged_parquet_is_refused_or_read_never_a_crash(tmp_path: Path):
    users = [f"user {n}" for n in range(500)]
    table = pa.table({"user_id": users, "item_id": range(500), "rating": [3.0] * 500})
    pq.write_table(table, tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    refused = 0
    for seed in range(150):
        chance = random.Random(seed)
        damaged = bytearray(whole)
        for _ in range(8):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            (tmp_path / "damaged").write_bytes(damaged)
            tables.read(tmp_path / "damaged")
        except InvalidDataset:
            refused += 1
    assert refused > 50
