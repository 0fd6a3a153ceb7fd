"""A data set in several files: read as one, or refused where they differ."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mftasks import reading
from mftasks.errors import InvalidDataset
from mftasks.records import ReadConfig
from tests.reading import tables

HEADER = "user_id,item_id,rating\n"
NO_CONFIG = ReadConfig()


def put(folder: Path, *contents: str | bytes) -> list[Path]:
    return [tables.put(folder, one, f"part-{n}") for n, one in enumerate(contents)]


def load(paths: list[Path]) -> list[tuple[object, ...]]:
    found = reading.load(paths, None, NO_CONFIG)
    assert not [one for one in found.checks if one.severity == "error" and not one.passed]
    return [row[:3] for row in tables.rows(found.table)]


def test_parts_may_be_packed_each_in_its_way_and_empty_but_for_the_header(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER + "2,8,4\n").encode(), mtime=0)
    paths = put(tmp_path, HEADER + "1,7,5\n1,9,4\n", packed, HEADER, HEADER + "3,7,1")
    assert load(paths) == [(1, 7, 5), (1, 9, 4), (2, 8, 4), (3, 7, 1)]


def test_parts_without_header_are_read_as_one(tmp_path: Path) -> None:
    assert load(put(tmp_path, "1,7,5\n1,9,4\n", "2,8,4\n")) == [(1, 7, 5), (1, 9, 4), (2, 8, 4)]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("1,8,4\n", "part-1 begins with '1,8,4', and part-0 with 'user_id,item_id,rating'"),
        ("item_id,user_id,rating\n1,8,4\n", "parts of one data set must have the same header"),
        ("user_id;item_id;rating\n1;8;4\n", "must have the same header"),
    ],
)
def test_a_part_with_another_header_is_refused(second: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match=message):
        load(put(tmp_path, HEADER + "1,7,5\n1,9,4\n", second))


def test_a_header_among_parts_without_one_is_refused(tmp_path: Path) -> None:
    paths = put(tmp_path, "1,7,5\n1,9,4\n1,6,3\n2,6,3\n2,5,5\n", HEADER + "1,8,4\n")
    check = tables.find(reading.load(paths, None, NO_CONFIG).checks, "every row can be read")
    assert check.severity == "error"
    assert "line 1 of part-1: rating 'rating'; expected a number" in check.detail


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER + "2,8,4\n" * 50).encode(), mtime=0)[:-9]
    with pytest.raises(InvalidDataset, match="part-1: the packed file is damaged"):
        load(put(tmp_path, HEADER + "1,7,5\n" * 90, packed))
