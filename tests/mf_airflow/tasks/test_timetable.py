"""Which tick of a schedule is the first: asked of Airflow's own code, after a round through its database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow import plugins_manager
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import DataInterval, TimeRestriction

from mf_airflow.mf_plugin import MfPlugin
from mf_airflow.tasks.timetable import CronSince, make_timetable

WEEK = timedelta(days=7)
FROM_NOW_ON = TimeRestriction(earliest=None, latest=None, catchup=False)


@pytest.fixture(autouse=True)
def _plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins_manager, "_get_plugins", lambda: ([MfPlugin], {}))
    plugins_manager.get_timetables_plugins.cache_clear()


def next_run(since: datetime, last: DataInterval | None = None) -> datetime:
    timetable: Any = decode_timetable(encode_timetable(CronSince("@weekly", since=since)))
    found = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=FROM_NOW_ON)
    return found.run_after


def test_the_first_tick_is_caught_up_if_nothing_lived_through_it() -> None:
    now = datetime.now(UTC)
    due = next_run(now - WEEK)
    assert now - WEEK < due <= now
    assert due.isoweekday() == 7


def test_of_several_missed_ticks_the_latest_alone_is_caught_up() -> None:
    now = datetime.now(UTC)
    assert now - WEEK < next_run(now - 10 * WEEK) <= now


def test_a_fresh_deployment_waits_for_its_first_tick() -> None:
    now = datetime.now(UTC)
    assert now < next_run(now) <= now + WEEK


def test_after_a_run_the_schedule_goes_on_from_there() -> None:
    now = datetime.now(UTC)
    ran = DataInterval.exact(next_run(now - WEEK))
    assert now < next_run(now - 10 * WEEK, ran) <= now + WEEK


def test_a_schedule_begins_when_its_file_was_last_changed(tmp_path: Path) -> None:
    file = tmp_path / "dag.py"
    file.touch()
    made = make_timetable("@weekly", str(file))
    assert isinstance(made, CronSince)
    assert made.serialize()["since"] == (
        datetime.fromtimestamp(int(file.stat().st_mtime), UTC).isoformat()
    )


@pytest.mark.parametrize("schedule", [None, "@once", timedelta(days=1)])
def test_what_is_no_cron_stays(schedule: Any, tmp_path: Path) -> None:
    file = tmp_path / "dag.py"
    file.touch()
    assert make_timetable(schedule, str(file)) is schedule


def test_without_a_file_airflow_decides(tmp_path: Path) -> None:
    assert make_timetable("@weekly", str(tmp_path / "dags.zip/dag.py")) == "@weekly"
