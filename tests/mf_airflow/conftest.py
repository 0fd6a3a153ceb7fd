"""Airflow reads its home when it is first imported: give it one that is nobody's."""

from __future__ import annotations

import os
import tempfile

import pytest

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, ...], float]:
    """Give what was sent to the metrics, by name and values of the tags."""
    from airflow.sdk.observability import stats

    found: dict[tuple[str, ...], float] = {}

    def gauge(name: str, value: float, *, tags: dict[str, str]) -> None:
        found[name, *tags.values()] = value

    def incr(name: str, *, tags: dict[str, str]) -> None:
        found[name, *tags.values()] = found.get((name, *tags.values()), 0) + 1

    monkeypatch.setattr(stats, "gauge", gauge)
    monkeypatch.setattr(stats, "incr", incr)
    return found
