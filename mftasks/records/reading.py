"""How a file of ratings is read: what a user says of it, and what was understood."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from mftasks.records.record import Fraction, Record

Column = Literal["user", "item", "rating", "timestamp"]


class FileFormat(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a text file is written; None is found out.

    `quote` is the character around cells that hold a delimiter; empty if there is none.
    """

    delimiter: str | None = None
    header: bool | None = None
    encoding: str | None = None
    quote: str | None = None


class ReadConfig(Record, frozen=True, kw_only=True):
    """How a data set of the user's own is read; what is not set is found out.

    `columns` are names in the file, or positions from 1. `scale` is the lowest and the highest
    rating that can be given.
    """

    columns: Annotated[
        dict[Column, str | Annotated[int, Meta(ge=1)]],
        Meta(
            description="Which columns are which, by name or position, if they have unusual names.",
            extra_json_schema={"examples": [{"user": "reader", "item": "isbn", "rating": 3}]},
        ),
    ] = {}
    format: Annotated[
        FileFormat | None,
        Meta(
            description="How a text file is written, if it is not found out by itself.",
            extra_json_schema={
                "examples": [
                    {"delimiter": ";", "header": False, "encoding": "latin-1", "quote": ""}
                ]
            },
        ),
    ] = None
    missing: Annotated[
        tuple[float, ...] | None,
        Meta(
            description="Ratings that mean that there is none, such as 0, -1 or 99. Their rows are "
            "left out. Empty: none does.",
            extra_json_schema={"examples": [[99]]},
        ),
    ] = None
    scale: Annotated[
        tuple[float, float] | None,
        Meta(
            description="The lowest and the highest rating that can be given. Empty: as in the data.",
            extra_json_schema={"examples": [[1, 5]]},
        ),
    ] = None
    duplicates: Annotated[
        Literal["refuse", "last", "first", "mean"],
        Meta(
            description="What becomes of several ratings of one item by one user: refuse the data, "
            "keep the last or first by time, else by place in the file, or take their mean. Exact "
            "copies are always left out."
        ),
    ] = "refuse"
    bad_rows: Annotated[
        Literal["refuse", "drop"],
        Meta(
            description="What becomes of rows that cannot be read: refuse the data, or drop them."
        ),
    ] = "refuse"
    bad_rows_share: Annotated[
        Fraction,
        Meta(description="The largest share of rows that bad_rows drop may drop."),
    ] = 0.01


class Layout(Record, frozen=True, kw_only=True):
    """A file of ratings as it was understood: enough to read it again in the same way.

    `kind` says what the file is once it is unpacked; `member` names the table within a zip.
    `n_header_lines` counts the lines before the first rating. `columns` are positions from 0, `names`
    those of all columns, made up if the file has none. `guesses` are sentences on what is not certain.
    """

    kind: Literal["text", "parquet", "json", "wide"]
    packed: Literal["", "gzip", "zstd", "zip"] = ""
    member: str = ""
    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    decimal: str = "."
    n_header_lines: int = 1
    columns: dict[Column, int] = {}
    names: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
