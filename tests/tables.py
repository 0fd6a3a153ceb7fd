"""Tables of what scenarios measured, each in its place in a Markdown file."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

ROOT = Path(__file__).parents[1]


class Row(Protocol):
    """One line of a table."""

    def cells(self) -> tuple[str, ...]: ...


class Table(NamedTuple):
    """A table that stands between `<!-- name -->` and `<!-- /name -->`."""

    name: str
    columns: tuple[str, ...]

    @contextlib.contextmanager
    def kept(self, rows: Sequence[Row], request: pytest.FixtureRequest) -> Iterator[None]:
        """Write it in the end to the page that MF_WRITE_TABLE names, unless a test failed meanwhile."""
        page = ROOT / given if (given := os.environ.get("MF_WRITE_TABLE")) else None
        assert page is None or self.has_place(page), f"{page} has no place for the table"
        failed_before = request.session.testsfailed
        yield
        print(self.text(rows))
        if page is not None and request.session.testsfailed == failed_before:
            self.write(rows, page)

    def has_place(self, page: Path) -> bool:
        """Say whether a page has a place for it."""
        return self._place().search(page.read_text()) is not None

    def write(self, rows: Sequence[Row], page: Path) -> None:
        """Put it into its place in a page, instead of the one that is there."""
        text = self.text(rows)
        page.write_text(
            self._place().sub(lambda found: found[1] + text + found[2], page.read_text())
        )

    def text(self, rows: Sequence[Row]) -> str:
        """Return it as Markdown."""
        lines = [self.columns, ("---",) * len(self.columns), *(row.cells() for row in rows)]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def _place(self) -> re.Pattern[str]:
        return re.compile(f"(<!-- {self.name} -->\n).*(<!-- /{self.name} -->)", re.DOTALL)
