from __future__ import annotations

import pytest

from mftasks.plots import page
from mftasks.records import Report
from tests.finished_run import evaluated_run, gather_report


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """Give the records of a run with a validation part, and of one without."""
    return {
        preset: gather_report(evaluated_run(tmp_path_factory.mktemp(preset), preset))
        for preset in ("default", "notebook")
    }


@pytest.fixture
def run(runs: dict[str, Report]) -> Report:
    return runs["default"]


@pytest.fixture(scope="module")
def drawn(runs: dict[str, Report]) -> str:
    """Give the report's page as it is."""
    return page.render_report(runs["default"]).decode()
