from __future__ import annotations

from pathlib import Path

import pytest

from tests.deployment.faults import rows
from tests.deployment.faults.rows import ServiceRow, TrainingRow
from tests.docker.compose import ROOT
from tests.tables import Table

KILLED = TrainingRow(
    what="the training is killed",
    noticed_seconds=0.32,
    epochs_lost=3,
    again_seconds=8.25,
    retries=1,
    same_bundle=True,
)
REDIS = ServiceRow(what="redis", well_seconds=3.4, run_seconds=30.0, retries=1, same_bundles=True)


def test_each_table_takes_the_place_of_its_last_one_and_of_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- chaos -->\n| old |\n<!-- /chaos -->\n"
        "between\n<!-- deployment -->\nold\n<!-- /deployment -->\nafter\n"
    )
    for _ in range(2):
        rows.TRAININGS.write([KILLED], page)
        rows.SERVICES.write([REDIS], page)
    lines = page.read_text().splitlines()
    assert lines[:2] == ["before", "<!-- chaos -->"]
    assert lines[4] == "| the training is killed | 0.3 s | 3 | 8.2 s | 1 | yes |"
    assert lines[5:8] == ["<!-- /chaos -->", "between", "<!-- deployment -->"]
    assert lines[-3:] == ["| redis | 3 s | 30 s | 1 | yes |", "<!-- /deployment -->", "after"]
    assert "old" not in page.read_text()


def test_a_page_may_have_no_place_for_a_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- chaos -->\n")
    assert not rows.TRAININGS.has_place(page)
    page.write_text("<!-- chaos -->\n<!-- /chaos -->\n")
    assert rows.TRAININGS.has_place(page)
    assert not rows.SERVICES.has_place(page)


@pytest.mark.parametrize("table", [rows.TRAININGS, rows.SERVICES], ids=lambda table: table.name)
def test_the_page_has_a_place_for_each_table(table: Table) -> None:
    page = ROOT / "docs" / "when-something-fails.md"
    assert table.has_place(page if page.exists() else ROOT / "ARCHITECTURE.md")


def test_what_is_not_measured_is_a_dash() -> None:
    unnoticed = TrainingRow(
        what="nothing",
        noticed_seconds=None,
        epochs_lost=0,
        again_seconds=None,
        retries=0,
        same_bundle=True,
    )
    assert unnoticed.cells() == ("nothing", "–", "0", "–", "0", "yes")


def test_a_run_that_nobody_disturbed_shows_no_seconds_until_all_was_well() -> None:
    row = ServiceRow(
        what="nothing", well_seconds=None, run_seconds=30.0, retries=0, same_bundles=False
    )
    assert row.cells() == ("nothing", "–", "30 s", "0", "no")
