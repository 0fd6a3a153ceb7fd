from __future__ import annotations

import json
from pathlib import Path

from tests.cluster import rows
from tests.cluster.rows import Row

KILLED = Row(
    what="the training is killed",
    noticed_seconds=0.32,
    epochs_lost=3,
    again_seconds=8.25,
    retries=1,
    same_bundle=True,
)


def test_the_table_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- chaos -->\n| old |\n<!-- /chaos -->\nafter\n")
    rows.TABLE.write([KILLED], page)
    rows.TABLE.write([KILLED], page)
    lines = page.read_text().splitlines()
    assert lines[:2] == ["before", "<!-- chaos -->"]
    assert lines[4] == "| the training is killed | 0.3 s | 3 | 8.2 s | 1 | yes |"
    assert lines[5:] == ["<!-- /chaos -->", "after"]


def test_a_page_may_have_no_place_for_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- chaos -->\n")
    assert not rows.TABLE.has_place(page)
    page.write_text("<!-- chaos -->\n<!-- /chaos -->\n")
    assert rows.TABLE.has_place(page)


def test_what_is_not_measured_is_a_dash(tmp_path: Path) -> None:
    unnoticed = Row(
        what="nothing",
        noticed_seconds=None,
        epochs_lost=0,
        again_seconds=None,
        retries=0,
        same_bundle=True,
    )
    rows.write_json([unnoticed], tmp_path / "output" / "chaos.json")
    [read] = json.loads((tmp_path / "output" / "chaos.json").read_bytes())
    assert read["noticed_seconds"] is None
    assert unnoticed.cells() == ("nothing", "–", "0", "–", "0", "yes")
