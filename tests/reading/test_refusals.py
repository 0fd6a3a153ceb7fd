"""What cannot be read is refused with what was recognised, and what settles it; nothing is lost."""

from __future__ import annotations

import gzip
import io
import json
import pickle  # noqa: TID251 (a file that must be refused)
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mftasks.errors import InvalidDataset
from tests.reading import tables

HEADER = "user_id,item_id,rating\n"


def make_zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), HEADER + "1,2,3\n")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "the file is empty"),
        ("\n\n\n", "blank lines only"),
        (HEADER, "not a single rating"),
        (HEADER.encode("utf-16"), "not a single rating"),
        ("a\nb\n", "no delimiter cuts the first lines into three columns"),
        ("user_id,rating\n1,2\n1,3\n", "no delimiter cuts the first lines into three columns"),
        ("user_id,price,rating\n1,2,3\n", 'no column for the item; found: user_id, price, rating (user'),
        ("a,b,c\n1,2,3\n", 'say which it is, by name or position: columns {"user": …, "item": …'),
        (HEADER.replace("\n", ",rating\n") + "1,2,3,4\n", "'rating' is there twice, as columns 3 and 4"),
        ("root:x:0:0,alice@x.org,q\nb,c,d\n", "; found: column 1, column 2, column 3;"),
        (make_zip("a.csv", "b.csv"), "a zip of 2 files: 'a.csv', 'b.csv'; expected one table"),
        (make_zip("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook; export its sheet"),
        (make_zip(), "an empty zip archive"),
        (make_zip("a.csv")[:40], "a damaged zip archive"),
        (gzip.compress((HEADER + "1,2,3\n" * 99).encode(), mtime=0)[:40], "the packed file is damaged"),
        (gzip.compress(b"1,2,3\n" * 10**6, mtime=0), "unpacks into more than"),
        (pickle.dumps({"a": 1}), "a Python pickle, which could run anything"),
        (b"SQLite format 3\0abc", "an SQLite database; export the table as CSV"),
        (b"%PDF-1.7\n", "the file is a PDF"),
        (b"BZh91AY", "compressed with bzip2"),
        (b"\n<!DOCTYPE html><html>", "a web page; the address may want a login"),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "git lfs pull"),
        (b"\x00\x01\x02\x03binary", "not text, and of no known kind"),
        (b"abc,def\0,ghi\n", "it holds NUL"),
        ("PAR1", "not a readable Parquet file"),
        ('{"user_id": 1,\n"rating": 3}\n', "line 1 begins like JSON, but cannot be read as such"),
        ('[{"user_id": 1}]\n', "line 1 is JSON, but no object; expected one object per line"),
        (json.dumps({"user_id": 1, "rating": 2}) + "\n", "no column for the item"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_ratings_is_refused_with_the_likely_cause(
    tmp_path: Path, data: str | bytes, message: str
) -> None:
    with pytest.raises(InvalidDataset) as refused:
        tables.read(tables.put(tmp_path, data))
    assert message in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"columns": {"user": "reader"}}, "columns: no column 'reader' for the user; did you mean"),
        ({"columns": {"user": 4}}, "columns: the user cannot be column 4, as the file has 3"),
        (
            {"columns": {"user": 2, "item": 2}},
            "columns: column 2 cannot be both the user and the item",
        ),
        ({"format": {"encoding": "klingon"}}, "no encoding is called 'klingon'"),
        ({"format": {"encoding": "utf-16"}}, "the file is not in utf-16"),
        ({"format": {"delimiter": ";"}}, "no column for the user and the item and the rating"),
        ({"format": {"delimiter": "--"}}, "cannot be cut into columns by '--'"),
    ],
)
def test_what_a_user_says_of_a_file_is_refused_if_it_does_not_fit(
    tmp_path: Path, given: dict[str, object], message: str
) -> None:
    from mftasks.params import convert
    from mftasks.records import ReadConfig

    with pytest.raises(InvalidDataset) as refused:
        tables.understand(
            tables.put(tmp_path, "readerid,isbn,rating\n1,2,3\n"), **convert(given, ReadConfig)
        )
    assert message in str(refused.value)


MARKED = [
    f"{user},{item},{(user * 7 + item * 3) % 5 + 1}"
    for user in range(1, 41)
    for item in range(1, 21)
]


def with_marks(*rows: int) -> str:
    lines = [f"{line},{chr(34) if n in rows else ''}fine" for n, line in enumerate(MARKED)]
    return "user_id,item_id,rating,review\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ((500,), "line 502: a quotation mark opens a cell that goes on over line 503"),
        ((100, 500), "line 102: a quotation mark opens a cell that goes on over line 103"),
        ((799,), "line 801: a quotation mark opens a cell that is never closed"),
    ],
)
def test_a_quotation_mark_that_is_not_closed_loses_no_row(
    tmp_path: Path, marks: tuple[int, ...], message: str
) -> None:
    path = tables.put(tmp_path, with_marks(*marks))
    with pytest.raises(InvalidDataset, match=r'\{"quote": ""\}') as refused:
        tables.read(path)
    assert message in str(refused.value)
    from mftasks.records import FileFormat

    assert tables.read(path, format=FileFormat(quote="")).table.n_ratings == 800


def test_rows_that_cannot_be_read_are_counted_and_the_first_ten_named_as_an_editor_numbers_them(
    tmp_path: Path,
) -> None:
    text = (
        HEADER
        + "1,2,3\n\n1,3,good\n1,4\n"
        + "2,2,4\n" * 3
        + "".join(f"3,{n},-?\n" for n in range(20))
    )
    found = tables.read(tables.put(tmp_path, text))
    assert found.table.n_ratings == 4
    assert found.unreadable.n_rows == 22
    assert len(found.unreadable.examples) == 10
    assert found.unreadable.examples[:3] == (
        "line 5: 2 columns; expected 3",
        "line 4: rating 'good'; expected a number",
        "line 9: rating '-?'; expected a number",
    )
    assert found.table.name_row(1) == "line 6"


def test_the_line_of_a_wrong_value_is_right_far_into_a_file(tmp_path: Path) -> None:
    lines = [f"{row}\t{row}\t3\t4" for row in range(300_000)]
    lines[250_000] = "1\t1\t?\t4"
    found = tables.read(tables.put(tmp_path, "\n".join(lines)))
    assert found.unreadable.examples == ("line 250001: rating '?'; expected a number",)


def test_a_million_columns_make_no_long_message(tmp_path: Path) -> None:
    names = ",".join(f"c{n}" for n in range(100_000))
    with pytest.raises(InvalidDataset, match="c9 and 99,990 more") as refused:
        tables.read(tables.put(tmp_path, f"{names}\n{'1,x,' * 49_999}1,x\n"))
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("text", [HEADER + "1" * 7 * 10**7, "1" * 7 * 10**7])
def test_a_line_of_seventy_megabytes_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidDataset):
        tables.read(tables.put(tmp_path, text))


def test_a_huge_id_asks_for_no_gigabytes(tmp_path: Path) -> None:
    text = HEADER + "".join(f"u{n},1,3\n" for n in range(20_000)) + f"{'x' * 300_000},1,3\n"
    with pytest.raises(InvalidDataset, match="an id has 300,000 letters: 'xxx"):
        tables.read(tables.put(tmp_path, text))


def test_parquet_with_half_an_id_or_an_odd_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ratings.parquet"
    for users, message in (
        ([1.5, 2.0], r"column of the user: .*1\.5"),
        ([True, False], "of type bool"),
    ):
        pq.write_table(pa.table({"user_id": users, "item_id": [1, 2], "rating": [1.0, 2.0]}), path)
        with pytest.raises(InvalidDataset, match=message):
            tables.read(path)
