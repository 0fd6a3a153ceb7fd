"""What tests of data share."""

from __future__ import annotations

import pytest

from mftasks.data.fetching import sources


@pytest.fixture(autouse=True)
def _wait_briefly(monkeypatch):
    monkeypatch.setattr(sources, "FIRST_WAIT_SECONDS", 0.01)
