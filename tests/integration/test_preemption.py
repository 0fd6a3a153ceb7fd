"""A training that is stopped goes on in the same try, on a real scheduler; one that a person ends does not."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path

import psutil
import pytest

from mf_airflow.embedded import stack
from mf_airflow.embedded.process import free_ports
from mf_airflow.embedded.rest import DAG
from mf_airflow.tasks import guard
from tests.waiting import wait

TASK = "train_linear"
LONG = {"networks": ["linear"], "epochs": 400, "patience": 0, "batch_size": 100}


def test_a_stopped_training_resumes_in_the_same_try_and_one_marked_failed_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "ratings.csv"
    lines = [f"{user},{item},{1 + (user * item) % 5}" for user in range(400) for item in range(50)]
    data.write_text("\n".join(["user_id,item_id,rating", *lines]) + "\n")
    monkeypatch.setenv("MF_CHECKPOINT_SECONDS", "0.1")
    [port] = free_ports(1)
    with stack.running(tmp_path / "stack", port=port, scheduled=False) as running:
        airflow = running.airflow
        states = functools.partial(airflow.tasks, "long")
        airflow.trigger("long", LONG | {"dataset": data.as_uri()})
        wait(lambda: _epoch(airflow) >= 3, 120, states)
        for _ in range(3):  # as a worker that shuts down does
            wait(lambda: len(_guards()) == 1, 60, states)
            [step] = _guards()
            reached = _epoch(airflow)
            wait(lambda reached=reached: _epoch(airflow) > reached, 60, states)
            os.kill(step.pid, signal.SIGTERM)
            step.wait(20)
            assert _state(airflow)[1] == 1
        wait(lambda: _state(airflow)[0] == "running", 60, states)
        wait(lambda: len(_guards()) == 1, 60, states)
        assert _state(airflow) == ("running", 1)
        [step] = _guards()
        airflow.ask(
            "PATCH",
            f"/api/v2/dags/{DAG}/dagRuns/long/taskInstances/{TASK}",
            {"new_state": "failed"},
        )
        psutil.wait_procs([step], timeout=60)
        assert not step.is_running()
        wait(lambda: airflow.run_state("long") == "failed", 60, states)
        assert _state(airflow) == ("failed", 1)


def _state(airflow: stack.Airflow) -> tuple[str | None, int]:
    [task] = [one for one in airflow.tasks("long") if one.task_id == TASK]
    return task.state, task.try_number


def _epoch(airflow: stack.Airflow) -> int:
    tick = airflow.progress("long", TASK)
    return 0 if tick is None else tick.done


def _guards() -> list[psutil.Process]:
    """Return the guards of trainings below this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            command = process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if guard.__file__ in command and "train" in command:
            found.append(process)
    return found
