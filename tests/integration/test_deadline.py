"""A run that is late is reported by a real scheduler, and its tasks can still be cleared."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import pytest

from mf_airflow.embedded import stack
from mf_airflow.embedded.process import free_ports
from mf_airflow.embedded.rest import DAG
from mf_airflow.monitoring.notifications import Message
from tests.mf_airflow import mailbox
from tests.waiting import wait

HOURS = 0.002
LONG = {"networks": ["linear"], "epochs": 1000, "patience": 0, "batch_size": 100}


def test_a_late_run_is_reported_once_and_its_tasks_can_be_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "ratings.csv"
    lines = [f"{user},{item},{1 + (user * item) % 5}" for user in range(400) for item in range(50)]
    data.write_text("\n".join(["user_id,item_id,rating", *lines]) + "\n")
    monkeypatch.setenv("MF_DEADLINE_HOURS", str(HOURS))
    [port] = free_ports(1)
    with mailbox.posts() as posts:
        monkeypatch.setenv("MF_NOTIFY_WEBHOOK", f"{posts.base}/hook")
        with stack.running(tmp_path / "stack", port=port, scheduled=False) as running:
            airflow = running.airflow
            states = functools.partial(airflow.tasks, "late")
            airflow.trigger("late", LONG | {"dataset": data.as_uri()})
            # Before the deadline: once it has passed, Airflow's reference to it can no longer fail.
            _clear(airflow, "publish")
            assert "/hook" not in posts.got
            wait(lambda: airflow.progress("late", "train_linear") is not None, 90, states)
            wait(lambda: "/hook" in posts.got, 30, states)
            message = msgspec.json.decode(posts.got.pop("/hook"), type=Message)
            _clear(airflow, "train_linear")
            wait(lambda: _tries(airflow, "train_linear") > 1, 30, states)
            assert airflow.run_state("late") == "running"
            airflow.end_unfinished_runs()
    assert (message.event, message.run_id) == ("deadline_missed", "late")
    assert "/hook" not in posts.got


def _clear(airflow: stack.Airflow, task_id: str) -> None:
    """Clear a task of the run as the UI does; raises `RequestRefused` if Airflow cannot."""
    chosen = {"dag_run_id": "late", "task_ids": [task_id], "only_failed": False, "dry_run": False}
    answer = airflow.ask("POST", f"/api/v2/dags/{DAG}/clearTaskInstances", chosen)
    assert answer["total_entries"] == 1


def _tries(airflow: stack.Airflow, task_id: str) -> int:
    return next(task.try_number for task in airflow.tasks("late") if task.task_id == task_id)
