"""Every layout that is read, as a small file of its own, with what a person would read from it.

docs/your-ratings.md lists them by their descriptions.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

Rows = Sequence[tuple[Any, Any, float, int]]

ROWS: Rows = [
    (196, 242, 3.0, 881250949),
    (186, 302, 3.5, 891717742),
    (22, 377, 1.0, 878887116),
    (196, 51, 4.5, 880606923),
    (22, 242, 2.0, 886397596),
    (186, 51, 5.0, 891720150),
]
BOOKS: Rows = [
    ("276725", "034545104X", 1.0, 881250949),
    ("276726", "0155061224", 5.0, 891717742),
    ("276725", "0155061224", 2.0, 878887116),
    ("276729", "052165615X", 3.0, 880606923),
]


class Example(NamedTuple):
    """A file of a layout; `timed` says whether its times are read."""

    what: str
    data: bytes
    rows: Rows = ROWS
    timed: bool = True
    guessed: bool = False
    config: dict[str, Any] = {}


def write(
    rows: Rows,
    names: Sequence[str],
    delimiter: str = ",",
    moment: Callable[[int], object] = str,
    **how: Any,
) -> str:
    """Return rows as delimited text; without names, without header."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter[0], lineterminator="\n", **how)
    if names:
        writer.writerow(names)
    for user, item, rating, seconds in rows:
        cells = (user, item, f"{rating:g}", moment(seconds))
        writer.writerow(cells[: len(names) or 4])
    found = text.getvalue()
    return found.replace(delimiter[0], delimiter) if len(delimiter) > 1 else found


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def day_first(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d/%m/%Y %H:%M:%S")


def excel(seconds: int) -> str:
    return f"{seconds / 86400 + 25569:.6f}"


def zipped(name: str, data: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._x", "x")
        archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def zstd(data: str) -> bytes:
    file = pa.BufferOutputStream()
    with pa.CompressedOutputStream(file, "zstd") as packed:
        packed.write(data.encode())
    return file.getvalue().to_pybytes()


def parquet(rows: Rows, names: Sequence[str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), file)
    return file.getvalue()


def objects(rows: Rows, names: Sequence[str]) -> str:
    return "".join(
        json.dumps({"text": 'a "b"\nc', **dict(zip(names, row, strict=True))}) + "\n"
        for row in rows
    )


OURS = ("user_id", "item_id", "rating", "timestamp")
LENS = ("userId", "movieId", "rating", "timestamp")
AMAZON = ("reviewerID", "asin", "overall", "unixReviewTime")
CROSSING = ("User-ID", "ISBN", "Book-Rating")
WIDE = "name,51,242,302,377,900,901,902,903\n22,,2,,1,,,,\n186,5,,3.5,,,,,\n196,4.5,3,,,,,,\n"
JESTER = (
    "3,99,-7.82,99,99,-1,99,99,99,8.79\n2,99,4.08,99,99,-0.29,99,99,99,99\n"
    "0,99,99,99,99,99,99,99,99,99\n"
)
COMMAS = write(ROWS, OURS, ";").replace(".", ",")
REVIEW = "user_id,item_id,rating,timestamp,review\n" + "".join(
    f'{user},{item},{rating:g},{seconds},"first ""line"",\nsecond\n\nlast"\n'
    for user, item, rating, seconds in ROWS
)

EXAMPLES = [
    Example("CSV with a header", write(ROWS, OURS).encode()),
    Example("CSV of later MovieLens releases", write(ROWS, LENS).encode()),
    Example("CSV without header", write(ROWS, ()).encode(), guessed=True),
    Example(
        "CSV with other columns, in any order",
        b"a,rating,b,Timestamp,userId,movieId\n"
        + "".join(f"x,{r:g},,{t},{u},{i}\n" for u, i, r, t in ROWS).encode(),
    ),
    Example(
        "CSV with a byte-order mark and Windows line ends",
        ("\ufeff" + write(ROWS, OURS)).replace("\n", "\r\n").encode(),
    ),
    Example("CSV with old Macintosh line ends", write(ROWS, OURS).replace("\n", "\r").encode()),
    Example(
        "CSV with blank lines", ("\n\n" + write(ROWS, OURS)).replace("22,", "\n\n22,").encode()
    ),
    Example("CSV whose cells hold line breaks", REVIEW.encode()),
    Example("CSV in quotation marks", write(ROWS, OURS, quoting=csv.QUOTE_ALL).encode()),
    Example(
        "CSV with an index column of pandas'",
        (
            ",user_id,item_id,rating,timestamp\n"
            + "".join(f"{n},{u}.0,{i}.0,{r:g},{t}.0\n" for n, (u, i, r, t) in enumerate(ROWS))
        ).encode(),
    ),
    Example(
        "CSV with an empty last column, as of Amazon",
        write(ROWS, ("UserId", "ProductId", "Rating", "Timestamp")).replace("\n", ",\n").encode(),
    ),
    Example(
        "CSV whose lines, but not the header, end in a comma",
        write(ROWS, OURS).replace("\n", ",\n").replace("timestamp,", "timestamp").encode(),
    ),
    Example("Excel's CSV, which begins with sep=;", ("sep=;\n" + write(ROWS, OURS, ";")).encode()),
    Example("semicolons, and decimal commas", COMMAS.encode()),
    Example(
        "Book-Crossing: semicolons, quotes, Latin-1",
        write(BOOKS, CROSSING, ";", quoting=csv.QUOTE_ALL)
        .replace("\n", ';"Käse"\n')
        .replace('Rating";"Käse"', 'Rating";"Title"')
        .encode("latin-1"),
        rows=BOOKS,
        timed=False,
        guessed=True,
    ),
    Example("tabs, without header, as of ml-100k", write(ROWS, (), "\t").encode(), guessed=True),
    Example(
        "tabs, with typed names, as of RecBole",
        write(
            ROWS, ("user_id:token", "item_id:token", "rating:float", "timestamp:float"), "\t"
        ).encode(),
    ),
    Example(":: between columns, as of ml-1m", write(ROWS, (), "::").encode(), guessed=True),
    Example("| between columns", write(ROWS, OURS, "|").encode()),
    Example(
        "blanks between columns, as of FilmTrust",
        write([(*row[:3], 0) for row in ROWS], ("a", "b", "c"), " ").split("\n", 1)[1].encode(),
        timed=False,
        guessed=True,
    ),
    Example("UTF-16, as Windows exports it", write(ROWS, OURS, "\t").encode("utf-16")),
    Example(
        "times in ISO 8601, whatever the decimals",
        write(ROWS, OURS, moment=lambda s: iso(s).replace("Z", ".123456789Z")).encode(),
    ),
    Example(
        "times in ISO 8601 with and without zone",
        write(ROWS, OURS, moment=lambda s: iso(s) if s % 2 else iso(s)[:-1]).encode(),
    ),
    Example("times in milliseconds", write(ROWS, OURS, moment=lambda s: f"{s}123").encode()),
    Example("times in microseconds", write(ROWS, OURS, moment=lambda s: f"{s}123456").encode()),
    Example("days of Excel", write(ROWS, OURS, moment=excel).encode()),
    Example("days first, if one is beyond the 12th", write(ROWS, OURS, moment=day_first).encode()),
    Example("gzip", gzip.compress(write(ROWS, OURS).encode(), mtime=0)),
    Example("zstd", zstd(write(ROWS, OURS))),
    Example("zip with one table", zipped("data/ratings.csv", write(ROWS, OURS))),
    Example("Parquet", parquet(ROWS, LENS)),
    Example("JSON lines, as of Amazon's reviews", objects(ROWS, AMAZON).encode()),
    Example("JSON lines in gzip", gzip.compress(objects(ROWS, AMAZON).encode(), mtime=0)),
    Example(
        "a matrix: a row per user, a column per item", WIDE.encode(), timed=False, guessed=True
    ),
    Example(
        "a matrix without header and with 99 for nothing, as of Jester",
        JESTER.encode(),
        rows=[(1, 2, -7.82, 0), (1, 5, -1, 0), (1, 9, 8.79, 0), (2, 2, 4.08, 0), (2, 5, -0.29, 0)],
        timed=False,
        guessed=True,
        config={"missing": [99]},
    ),
    Example(
        "three columns of numbers without header, as of FilmTrust",
        b"1,1,2\n1,2,4\n1,3,3.5\n2,1,0.5\n",
        rows=[(1, 1, 2, 0), (1, 2, 4, 0), (1, 3, 3.5, 0), (2, 1, 0.5, 0)],
        timed=False,
        guessed=True,
    ),
    Example(
        "tabs and six decimals, as of processed Book-Crossing",
        b"user\titem\trating\n" + b"".join(b"%d\t%d\t%f\n" % row[:3] for row in ROWS),
        timed=False,
    ),
    Example(
        "User_ID, Anime_ID and Feedback, as of anime",
        write(ROWS, ("User_ID", "Anime_ID", "Feedback"), "\t").encode(),
        timed=False,
    ),
    Example(
        "placeID beside words for users, as of restaurants",
        b"UserID,placeID,rating,food\nU1077,135085,2,2\nU1077,135038,1,2\nU1068,132825,0,1\n",
        rows=[("U1077", 135085, 2, 0), ("U1077", 135038, 1, 0), ("U1068", 132825, 0, 0)],
        timed=False,
    ),
    Example(
        "plays or hours, as of Last.fm and Steam",
        write(ROWS, ("userID", "artistID", "weight"), "\t").encode(),
        timed=False,
    ),
    Example(
        "an id of the rating in front, and days, as of X-Wines",
        b"RatingID,UserID,WineID,Vintage,Rating,Date\n"
        + "".join(
            f"{n},{u},{i},1950,{r:g},{iso(t)[:19].replace('T', ' ')}\n"
            for n, (u, i, r, t) in enumerate(ROWS)
        ).encode(),
    ),
    Example(
        "empty rows below the table, as Excel leaves them",
        (write(ROWS, OURS) + ",,,\n" * 7).replace("\n", "\r").encode(),
    ),
    Example(
        "any names, with columns",
        write(ROWS, ("who", "what", "how", "when?")).encode(),
        config={"columns": {"user": "who", "item": 2, "rating": "HOW", "timestamp": 4}},
    ),
]
