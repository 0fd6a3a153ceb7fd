"""When a run is late, and that Airflow knows what this refers to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow import plugins_manager
from airflow.serialization.decoders import decode_deadline_alert
from airflow.serialization.encoders import encode_deadline_alert

from mf_airflow.mf_plugin import MfPlugin
from mf_airflow.tasks.deadline import read_deadline
from mftasks.errors import InvalidPlan


@pytest.mark.parametrize(
    ("given", "hours"), [(None, 12), ("", 12), ("0.5", 0.5), ("8760", 8760), ("0", None)]
)
def test_a_run_is_late_hours_after_it_was_made(
    monkeypatch: pytest.MonkeyPatch, given: str | None, hours: float | None
) -> None:
    monkeypatch.delenv("MF_DEADLINE_HOURS", raising=False)
    if given is not None:
        monkeypatch.setenv("MF_DEADLINE_HOURS", given)
    alert = read_deadline()
    assert (alert and alert.interval) == (hours and timedelta(hours=hours))


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf", "9000"])
def test_what_is_no_number_of_hours_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("MF_DEADLINE_HOURS", given)
    with pytest.raises(
        InvalidPlan, match=f"MF_DEADLINE_HOURS cannot be '{given}': it must be a number of hours"
    ):
        read_deadline()


def test_airflow_reads_back_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MF_DEADLINE_HOURS", raising=False)
    monkeypatch.setattr(plugins_manager, "_get_plugins", lambda: ([MfPlugin], {}))
    plugins_manager.get_deadline_references_plugins.cache_clear()
    read = decode_deadline_alert(encode_deadline_alert(read_deadline()))
    plugins_manager.get_deadline_references_plugins.cache_clear()
    due = read.reference.evaluate_with(
        session=None, interval=read.interval, dag_id="movielens_mf", run_id="try-1"
    )
    assert timedelta() <= datetime.now(UTC) + timedelta(hours=12) - due < timedelta(minutes=1)
    assert read.callback.path == "mf_airflow.monitoring.notifications.deadline_missed"
