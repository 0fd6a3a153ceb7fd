from __future__ import annotations

import gzip
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mftasks.data import formats
from mftasks.data.table import MISSING
from mftasks.errors import InvalidDataset
from tests import movielens

if TYPE_CHECKING:
    from mftasks.data.table import RatingsTable


def read(tmp_path: Path, format: str, data: str | bytes) -> RatingsTable:
    path = tmp_path / "ratings"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return formats.read(path, format)


def rows(table: RatingsTable) -> list[tuple[Any, ...]]:
    """Return the rows of a table as the file had them."""
    users = table.users.known[table.users.codes].tolist()
    items = table.items.known[table.items.codes].tolist()
    moments = [None] * table.n_ratings if table.timestamps is None else table.timestamps.tolist()
    return list(zip(users, items, table.ratings.tolist(), moments, strict=True))


@pytest.mark.parametrize("format", ["tab", "colons", "csv"])
def test_every_published_format_keeps_its_rows_and_their_order(tmp_path: Path, format: str):
    given = movielens.half_stars(movielens.ROWS)
    table = read(tmp_path, format, movielens.ratings(format, given))
    assert rows(table) == given
    assert table.users.known.tolist() == [2, 7, 15, 9001]
    assert table.items.known.tolist() == [4, 31, 900, 131262]
    assert table.ratings.dtype == np.float32
    assert table.users.codes.dtype == table.items.codes.dtype == np.int32


def test_windows_line_ends_and_a_missing_last_one_do_not_matter(tmp_path: Path):
    assert rows(read(tmp_path, "colons", "1::2::3.5::4\r\n5::6::1::8")) == [
        (1, 2, 3.5, 4),
        (5, 6, 1.0, 8),
    ]


def test_ids_beyond_32_bits_and_sparse_ones_are_kept(tmp_path: Path):
    low, high = -(10**18) + 1, 10**18 - 1
    table = read(tmp_path, "csv", f"user_id,item_id,rating\n{high},2000000000,3\n{low},5,4\n")
    assert rows(table) == [(high, 2_000_000_000, 3.0, None), (low, 5, 4.0, None)]


def test_string_ids_may_begin_late_and_hold_commas(tmp_path: Path):
    lines = [f"{user},{user % 7},3" for user in range(200_000)]
    lines[150_000] = 'ana,"a, b",4.5'
    table = read(tmp_path, "csv", "user_id,item_id,rating\n" + "\n".join(lines))
    found = rows(table)
    assert found[150_000] == ("ana", "a, b", 4.5, None)
    assert found[7] == ("7", "0", 3.0, None)
    assert len(table.users.known) == 200_000
    assert sorted(table.users.known) == table.users.known.tolist()


def test_columns_are_found_by_name_in_any_order(tmp_path: Path):
    text = "\ufeffrating,note, item_id ,timestamp,userId\n4,x,11,5,1\n3,,12,6,2\n"
    assert rows(read(tmp_path, "csv", text)) == [(1, 11, 4.0, 5), (2, 12, 3.0, 6)]


@pytest.mark.parametrize(
    "moment",
    [
        "1577836800",
        "1577836800.7",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-01-01 01:00:00+01:00",
    ],
)
def test_moments_become_seconds(tmp_path: Path, moment: str):
    table = read(tmp_path, "csv", f"user_id,item_id,rating,timestamp\n1,1,3,{moment}\n")
    assert rows(table) == [(1, 1, 3.0, 1577836800)]


def test_what_is_missing_survives_reading(tmp_path: Path):
    text = "user_id,item_id,rating,timestamp\n1,a,,5\n,b,nan,\n3,,inf,7\n"
    table = read(tmp_path, "csv", text)
    users, items, ratings, moments = zip(*rows(table), strict=True)
    assert users == (1, MISSING, 3)
    assert items == ("a", "b", "")
    assert np.isnan(ratings[:2]).all()
    assert np.isinf(ratings[2])
    assert moments == (5, MISSING, 7)


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        ("tab", "1\t2\t3\t4\n5\tu\t1\t8\n", "line 2, column item_id: 'u'; expected an integer"),
        ("tab", "1\t2\t3\t4\n5\t6\t1\n", "line 2: Expected 4 columns, got 3"),
        ("colons", "1::2::3::4\n5::6::x::8\n", "line 2, column rating: 'x'; expected a number"),
        ("colons", "1::2::3::4\n5:1:6::2::8\n", "line 2, between user_id and item_id: '1'"),
        ("colons", "1::2::3::4\n5::6::1\n", "line 2: Expected 7 columns, got 5"),
        ("csv", "a,user_id,item_id,rating\n9,1,2,3\n9,1,3,good\n", "line 3, column rating: 'good'"),
        ("csv", "user_id,item_id,rating\n1,2\n", "line 2: Expected 3 columns, got 2"),
        ("csv", "user_id,rating\n1,2\n", "no column 'item_id'; found: user_id, rating; expected"),
        ("csv", "user_id,item_id,rating,rating\n1,2,3,4\n", "column 'rating' is there twice"),
        (
            "csv",
            "user_id,item_id,rating,timestamp\n1,2,3,soon\n",
            "line 2, column timestamp: 'soon'; expected seconds since 1970 or an ISO 8601 moment",
        ),
        ("csv", "user_id;item_id;rating\n1;2;3\n", "semicolons separate its columns"),
        ("csv", "user_id\titem_id\trating\n1\t2\t3\n", "tabs separate its columns"),
        ("csv", "user_id,item_id\n".encode("utf-16"), "it is in UTF-16; store it as UTF-8"),
        (
            "csv",
            gzip.compress(b"user_id,item_id\n", mtime=0),
            "it is compressed with gzip; unpack it",
        ),
        ("csv", "user_id,item_id,rating\n" + "1" * 10**7, "a line is too long for a rating"),
        ("csv", "1" * 10**7, "a line is too long for a rating"),
        (
            "csv",
            'user_id,item_id,rating\n1,2,"3\n' + "1,2,3\n" * 10**6,
            "a quotation mark is not closed in its line; expected one rating per line",
        ),
        (
            "csv",
            'user_id,item_id,rating\n1,2,"3\n' + "1,2,3\n" * 10,
            "line 2: a line is too long for a rating, or a quotation mark is not closed in its line; expected one rating per line",
        ),
        ("csv", "\nuser_id,item_id,rating\n", "found: an empty file"),
        ("tab", "", "the file is empty"),
        ("csv", "", "found: an empty file"),
        ("csv", "user_id,item_id,rating\n", "without a single rating"),
        ("parquet", "PAR1", "not a readable Parquet file"),
    ],
)
def test_a_file_that_is_not_as_expected_is_explained(
    tmp_path: Path, format: str, text: str | bytes, message: str
):
    with pytest.raises(InvalidDataset) as caught:
        read(tmp_path, format, text)
    assert message in str(caught.value)


def test_the_line_of_a_wrong_value_is_right_far_into_a_file(tmp_path: Path):
    lines = [f"{row}\t{row}\t3\t4" for row in range(300_000)]
    lines[250_000] = "1\t1\t?\t4"
    with pytest.raises(InvalidDataset, match=r"line 250001, column rating: '\?'"):
        read(tmp_path, "tab", "\n".join(lines))


def parquet(tmp_path: Path, **columns: Any) -> RatingsTable:
    path = tmp_path / "ratings.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return formats.read(path, "parquet")


def test_parquet_is_read_whatever_the_width_of_its_numbers(tmp_path: Path):
    table = parquet(
        tmp_path,
        timestamp=pa.array([5, 6, None], pa.uint32()),
        movieId=pa.array([3, 2, 3], pa.uint16()),
        user_id=pa.array([1.0, 9.0, 5.0], pa.float64()),
        rating=pa.array([5, 1, None], pa.int8()),
        note=pa.array(["a", "b", "c"]),
    )
    assert rows(table)[:2] == [(1, 3, 5.0, 5), (9, 2, 1.0, 6)]
    assert np.isnan(table.ratings[2])
    assert table.timestamps is not None
    assert table.timestamps[2] == MISSING


def test_parquet_is_read_with_strings_categories_and_moments(tmp_path: Path):
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    table = parquet(
        tmp_path,
        user_id=pa.array(["zoë", None, "bob"]).dictionary_encode(),
        item_id=pa.array(["a", "b", "a"], pa.large_string()),
        rating=pa.array([0.5, 1.0, 1.5]),
        timestamp=pa.array([moment] * 3, pa.timestamp("ns", "Europe/Berlin")),
    )
    assert rows(table) == [
        ("zoë", "a", 0.5, 1577836800),
        ("", "b", 1.0, 1577836800),
        ("bob", "a", 1.5, 1577836800),
    ]


def test_parquet_with_half_an_id_or_an_odd_type_is_refused(tmp_path: Path):
    item_id, rating = pa.array([1, 2]), pa.array([1.0, 2.0])
    with pytest.raises(InvalidDataset, match=r"column user_id: .*1\.5"):
        parquet(tmp_path, user_id=pa.array([1.5, 2.0]), item_id=item_id, rating=rating)
    with pytest.raises(InvalidDataset, match="column user_id is of type bool; expected an integer"):
        parquet(tmp_path, user_id=pa.array([True, False]), item_id=item_id, rating=rating)


PEAK = r"""
import re, sys, pandas, pyarrow.csv
from pathlib import Path
from mftasks.data import formats
pyarrow.set_cpu_count(1)  # how far several threads are ahead of each other depends on the load
pyarrow.set_io_thread_count(1)
def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024
before = peak()
table = formats.read(Path(sys.argv[1]), "colons")
arrays = [table.users.codes, table.items.codes, table.ratings, table.timestamps]
print((peak() - before) / sum(array.nbytes for array in arrays))
"""


def test_reading_takes_at_most_three_times_the_memory_of_the_arrays(tmp_path: Path):
    block = "".join(
        f"{row * 7}::{row % 977}::{row % 10 / 2}::{978300760 + row}\n" for row in range(10_000)
    )
    path = tmp_path / "ratings.dat"
    path.write_bytes(block.encode() * 200)
    asked = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )
    assert 1 < float(asked.stdout) <= 3


def test_a_row_of_data_in_place_of_names_is_not_repeated(tmp_path: Path):
    with pytest.raises(InvalidDataset, match="3 columns that do not look like names"):
        read(tmp_path, "csv", "root:x:0:0,alice@example.org,3\n1,2,3\n")


def test_a_million_columns_make_no_long_message(tmp_path: Path):
    names = ",".join(f"c{n}" for n in range(100_000))
    with pytest.raises(InvalidDataset, match="c9 and 99,990 more; expected") as caught:
        read(tmp_path, "csv", f"{names}\n{'1,' * 99_999}1\n")
    assert len(str(caught.value)) < 300
    with pytest.raises(InvalidDataset, match="expected the columns") as caught:
        read(tmp_path, "csv", f"user_id,item_id,rating,{names}\n1,2\n")
    assert len(str(caught.value)) < 1000
