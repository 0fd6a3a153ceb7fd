"""Say in words how a file is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mftasks.records import Layout

_DELIMITERS = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": "bars",
    " ": "blanks",
    "::": "::",
}
_KINDS = {
    "parquet": "Parquet",
    "json": "JSON lines",
    "wide": "a matrix with a row for each user and a column for each item",
}


def describe(layout: Layout) -> str:
    """Return how a file is written, such as `text with semicolons between columns, in latin-1`."""
    if layout.kind == "parquet":
        return _KINDS["parquet"]
    between = _DELIMITERS.get(layout.delimiter, repr(layout.delimiter))
    parts = [_KINDS.get(layout.kind, f"text with {between} between columns")]
    if layout.kind == "wide":
        parts.append(f"{between} between columns")
    if layout.kind == "text":
        parts.append(_count_header(layout.n_header_lines))
        parts += [f"cells in {layout.quote}"] * bool(layout.quote not in ("", '"'))
        parts += ["decimal commas"] * bool(layout.decimal == ",")
    parts += [f"in {layout.encoding}"] * bool(layout.encoding != "utf-8")
    parts += [f"packed by {layout.packed}"] * bool(layout.packed)
    return ", ".join(parts)


def describe_columns(layout: Layout) -> str:
    """Return what holds what, such as `user is User-ID, item is ISBN, rating is Book-Rating`."""
    if layout.kind == "wide":
        return "ratings are its cells"
    return ", ".join(f"{role} is {layout.names[place]}" for role, place in layout.columns.items())


def _count_header(n_lines: int) -> str:
    if n_lines <= 1:
        return "a header" if n_lines else "no header"
    return f"a header in line {n_lines}"
