from __future__ import annotations

from pathlib import Path

from tests.deployment import rows
from tests.deployment.rows import Row
from tests.docker.compose import ROOT

ROW = Row(what="redis", well_seconds=3.4, run_seconds=30.0, retries=1, same_bundles=True)
LINE = "| redis | 3 s | 30 s | 1 | yes |"


def test_a_table_takes_the_place_of_the_one_that_is_there_and_of_nothing_else(
    tmp_path: Path,
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- deployment -->\nold\n<!-- /deployment -->\nafter\n")
    rows.TABLE.write([ROW], page)
    lines = page.read_text().splitlines()
    assert lines[:2] == ["before", "<!-- deployment -->"]
    assert lines[-3:] == [LINE, "<!-- /deployment -->", "after"]
    assert "old" not in lines


def test_a_run_that_nobody_disturbed_shows_no_seconds(tmp_path: Path) -> None:
    row = Row(what="nothing", well_seconds=None, run_seconds=30.0, retries=0, same_bundles=False)
    assert row.cells() == ("nothing", "–", "30 s", "0", "no")


def test_the_page_has_a_place_for_the_table() -> None:
    assert rows.TABLE.has_place(ROOT / "ARCHITECTURE.md")
