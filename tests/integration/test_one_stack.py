"""Several runs on one real scheduler: a late one, one that is stopped, and those of two DAGs on two data sets.

A run that is late is reported, and its tasks can still be cleared. A training that is stopped goes on in the same
try; one that a person ends does not. Two DAGs share one store, with runs of one name.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import pytest

from mf_airflow.embedded import environment, stack
from mf_airflow.embedded.process import free_ports
from mf_airflow.embedded.rest import DAG, ENDED, RequestRefused
from mf_airflow.monitoring.notifications import Message
from mf_airflow.tasks import guard
from mftasks import settings
from mftasks.params import choices
from mftasks.records import Manifest
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.mf_airflow import mailbox
from tests.waiting import wait

DAG_FILE = """
from mf_airflow.retraining import retraining
retraining({dag!r}, {dataset!r}, None, {{"networks": ["linear"]}})
"""
HOURS = 0.002
TASK = "train_linear"
LONG = {"networks": ["linear"], "patience": 0, "batch_size": 100}
RUN = "same"
EMPTY_FORM = {one.name: None for one in choices.list_choices() if one.name != "dataset"}
SHOPS = ("films", "books")


class One(NamedTuple):
    """The stack, many ratings, and what was posted to the webhook."""

    running: stack.Stack
    many: str
    posts: mailbox.Posts


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[One]:
    """Give a stack with three DAGs whose runs are soon late, and whose trainings put checkpoints often."""
    folder = tmp_path_factory.mktemp("one")
    (folder / "dags").mkdir()
    shutil.copy(environment.ROOT / "dags" / "movielens_mf.py", folder / "dags")
    for number, shop in enumerate(SHOPS):
        data = _write_ratings(folder / f"{shop}.csv", n_users=60 + number, n_items=40)
        text = DAG_FILE.format(dag=shop, dataset=data)
        (folder / "dags" / f"{shop}.py").write_text(text)
    [port] = free_ports(1)
    with pytest.MonkeyPatch.context() as patched, mailbox.posts() as posts:
        _use_dags(folder / "dags", patched)
        patched.setenv("MF_DEADLINE_HOURS", str(HOURS))
        patched.setenv("MF_NOTIFY_WEBHOOK", f"{posts.base}/hook")
        patched.setenv("MF_CHECKPOINT_SECONDS", "0.1")
        with stack.running(folder / "stack", port=port, scheduled=False) as running:
            yield One(running, _write_ratings(folder / "many.csv", 400, 50), posts)


def _write_ratings(path: Path, n_users: int, n_items: int) -> str:
    pairs = [(user, item) for user in range(n_users) for item in range(n_items)]
    rows = [f"{user},{item},{1 + (user * item) % 5}" for user, item in pairs]
    path.write_text("\n".join(["user_id,item_id,rating", *rows]) + "\n")
    return path.as_uri()


def _use_dags(folder: Path, patched: pytest.MonkeyPatch) -> None:
    original = environment.airflow_environment

    def with_other_dags(*given: Any, **options: Any) -> dict[str, str]:
        return original(*given, **options) | {"AIRFLOW__CORE__DAGS_FOLDER": str(folder)}

    patched.setattr(environment, "airflow_environment", with_other_dags)


def test_a_late_run_is_reported_once_and_its_tasks_can_be_cleared(one: One) -> None:
    airflow, posts = one.running.airflow, one.posts
    states = functools.partial(airflow.tasks, "late")
    posts.got.clear()
    airflow.trigger("late", LONG | {"epochs": 1000, "dataset": one.many})
    # Before the deadline: once it has passed, Airflow's reference to it can no longer fail.
    _clear(airflow, "publish")
    assert "/hook" not in posts.got
    wait(lambda: airflow.progress("late", TASK) is not None, 90, states)
    wait(lambda: "/hook" in posts.got, 30, states)
    message = msgspec.json.decode(posts.got.pop("/hook"), type=Message)
    _clear(airflow, TASK)
    wait(lambda: _state(airflow, "late")[1] > 1, 30, states)
    assert airflow.run_state("late") == "running"
    airflow.end_unfinished_runs()
    wait(lambda: not _guards(), 60, states)
    assert (message.event, message.run_id) == ("deadline_missed", "late")
    assert "/hook" not in posts.got


def _clear(airflow: stack.Airflow, task_id: str) -> None:
    """Clear a task of the run as the UI does; raises `RequestRefused` if Airflow cannot."""
    chosen = {"dag_run_id": "late", "task_ids": [task_id], "only_failed": False, "dry_run": False}
    answer = airflow.ask("POST", f"/api/v2/dags/{DAG}/clearTaskInstances", chosen)
    assert answer["total_entries"] == 1


def test_a_stopped_training_resumes_in_the_same_try_and_one_marked_failed_stays_so(
    one: One,
) -> None:
    airflow = one.running.airflow
    states = functools.partial(airflow.tasks, "long")
    airflow.trigger("long", LONG | {"epochs": 400, "dataset": one.many})
    wait(lambda: _epoch(airflow) >= 3, 120, states)
    for _ in range(3):  # as a worker that shuts down does
        step = _the_guard(states)
        reached = _epoch(airflow)
        wait(lambda reached=reached: _epoch(airflow) > reached, 60, states)
        os.kill(step.pid, signal.SIGTERM)
        step.wait(20)
        assert _state(airflow, "long")[1] == 1
    wait(lambda: _state(airflow, "long")[0] == "running", 60, states)
    step = _the_guard(states)
    assert _state(airflow, "long") == ("running", 1)
    task = f"/api/v2/dags/{DAG}/dagRuns/long/taskInstances/{TASK}"
    airflow.ask("PATCH", task, {"new_state": "failed"})
    psutil.wait_procs([step], timeout=60)
    assert not step.is_running()
    wait(lambda: airflow.run_state("long") == "failed", 60, states)
    assert _state(airflow, "long") == ("failed", 1)


def _state(airflow: stack.Airflow, run_id: str) -> tuple[str | None, int]:
    [task] = [each for each in airflow.tasks(run_id) if each.task_id == TASK]
    return task.state, task.try_number


def _epoch(airflow: stack.Airflow) -> int:
    tick = airflow.progress("long", TASK)
    return 0 if tick is None else tick.done


def _the_guard(states: Callable[[], object]) -> psutil.Process:
    """Wait for the guard of the one training that runs."""
    found: list[psutil.Process] = []

    def one_runs() -> bool:
        found[:] = _guards()
        return len(found) == 1

    wait(one_runs, 60, states)
    return found[0]


def _guards() -> list[psutil.Process]:
    """Return the guards of trainings below this process.

    A guard's child bears the guard's own command line until it has become the step that is guarded, so a process
    below a guard is none.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            command, above = process.cmdline(), process.ppid()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if guard.__file__ in command and "train" in command and above not in found:
            found[process.pid] = process
    return list(found.values())


def test_each_dag_trains_on_its_own_data_and_a_cleared_run_goes_on_where_it_was(
    one: One, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = one.running
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    for shop in SHOPS:
        _trigger(running, shop, EMPTY_FORM | {"networks": ["linear"], "epochs": 2.0})
    with pytest.raises(RequestRefused, match=r"400.*ml-1oom"):
        _trigger(running, "films", {"dataset": "ml-1oom"})
    _wait_for_both(running)
    ids = {shop: _store_run_id(running, shop) for shop in SHOPS}
    assert {shop: _manifest(ids[shop]).dataset.name[:5] for shop in SHOPS} == {
        "films": "films",
        "books": "books",
    }

    chosen = {"dag_run_id": RUN, "task_ids": ["plan"], "include_downstream": True}
    how = {"dry_run": False, "only_failed": False}
    running.airflow.ask("POST", "/api/v2/dags/films/clearTaskInstances", chosen | how)
    _wait_for_both(running)
    assert _store_run_id(running, "films") == ids["films"]
    runs = {key.split("/")[1] for key in Workspace(settings.read()).store.list("runs/")}
    assert {run for run in runs if not run.startswith(DAG)} == set(ids.values())


def _ask(running: stack.Stack, method: str, dag: str, path: str, body: Any = None) -> Any:
    return running.airflow.ask(method, f"/api/v2/dags/{dag}/dagRuns{path}", body)


def _trigger(running: stack.Stack, dag: str, conf: dict[str, Any]) -> None:
    _ask(running, "POST", dag, "", {"dag_run_id": RUN, "logical_date": None, "conf": conf})


def _wait_for_both(running: stack.Stack) -> None:
    def states() -> list[str]:
        return [_ask(running, "GET", shop, f"/{RUN}")["state"] for shop in SHOPS]

    wait(lambda: set(states()) <= set(ENDED), 180, lambda: json.dumps(states()))
    assert states() == ["success", "success"]


def _store_run_id(running: stack.Stack, dag: str) -> str:
    path = f"/{RUN}/taskInstances/plan/xcomEntries/return_value"
    value = _ask(running, "GET", dag, path)["value"]
    return str(value["run_id"])


def _manifest(run_id: str) -> Manifest:
    return Workspace(settings.read()).read(keys.run(run_id, "manifest.json"), Manifest)
