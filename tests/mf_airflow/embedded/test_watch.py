from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
import pytest
from rich.console import Console

from mf_airflow.embedded import watch
from mf_airflow.embedded.rest import TaskState
from mftasks.progress import Tick
from mftasks.records import Check, EpochMetrics, Profile, SplitRef
from mftasks.store import keys
from mftasks.store.workspace import JSON, Workspace
from tests import finished_run

if TYPE_CHECKING:
    from mf_airflow.embedded.stack import Stack

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def task(name: str, state: str | None, *, began: datetime | None = None) -> TaskState:
    return TaskState(task_id=name, state=state, try_number=1, start_date=began, end_date=None)


def tick(epoch: int) -> Tick:
    metrics = EpochMetrics(
        epoch=epoch,
        train_rmse=0.9,
        valid_rmse=0.95,
        learning_rate=0.01,
        seconds=float(epoch),
        ratings_per_second=1e5,
    )
    return Tick(work="train mlp", done=epoch, total=5, unit="epochs", epoch=metrics)


def test_a_log_has_one_line_a_change() -> None:
    log = Console(file=io.StringIO(), width=140)
    with watch._display(log) as display:
        display.show([task("plan", None), task("train_mlp", None)], {})
        display.show([task("plan", "success"), task("train_mlp", "running")], {})
        for epoch in (1, 1, 2):
            display.show(
                [task("plan", "success"), task("train_mlp", "running")], {"train_mlp": tick(epoch)}
            )
    lines = [line.split(" s  ", 1)[1] for line in log.file.getvalue().splitlines()]
    assert [line.split()[:5] for line in lines] == [
        ["plan", "done"],
        ["train_mlp", "running"],
        ["train_mlp", "epoch", "1", "of", "5,"],
        ["train_mlp", "epoch", "2", "of", "5,"],
    ]


def test_what_a_tick_holds_is_no_markup() -> None:
    log = Console(file=io.StringIO(), width=140)
    hostile = msgspec.structs.replace(tick(1), device="[red]cpu[/x]\x9b")
    with watch._display(log) as display:
        display.show([task("train_mlp", "running")], {"train_mlp": hostile})
    assert r"on [red]cpu[/x]\x9b" in log.file.getvalue()


def test_a_terminal_gets_one_row_a_task() -> None:
    terminal = Console(file=io.StringIO(), width=140, force_terminal=True)
    with watch._display(terminal) as display:
        display.show([task("train_mlp", "running", began=BEGAN)], {"train_mlp": tick(2)})
    shown = terminal.file.getvalue()
    assert "epoch 2 of 5, train RMSE 0.9000, valid RMSE 0.9500" in shown
    assert "running" in shown


class _OfOneRun:
    """What `follow` asks of Airflow and of a stack, for one run that is done."""

    def __init__(self, workspace: Workspace) -> None:
        self.airflow, self.workspace = self, workspace

    def check(self) -> None: ...

    def run_state(self, run_id: str) -> str:
        return "success"

    def store_run_id(self, run_id: str) -> str:
        return finished_run.RUN

    def tasks(self, run_id: str) -> list[TaskState]:
        return [task("validate", "success", began=BEGAN), task("split", "success", began=BEGAN)]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_the_data_are_warned_of_is_shown_once_and_as_it_is(
    tmp_path: Path, is_terminal: bool
) -> None:
    workspace = finished_run.published_run(tmp_path)
    key = keys.run(finished_run.RUN, "profile.json")
    profile = workspace.read(key, Profile)
    odd = Check(name="ids", severity="warning", passed=False, detail="'[red]x\x1b' in line 7")
    workspace.store.put(
        key, msgspec.json.encode(msgspec.structs.replace(profile, checks=(odd,))), JSON
    )
    console = Console(file=io.StringIO(), width=140, force_terminal=is_terminal, color_system=None)
    assert watch.follow(cast("Stack", _OfOneRun(workspace)), "any", console) == "success"
    assert console.file.getvalue().count(r"warning ids: '[red]x\x1b' in line 7") == 1


def test_warnings_are_asked_for_as_soon_as_a_step_is_done_and_only_once(tmp_path: Path) -> None:
    workspace = finished_run.published_run(tmp_path)
    split = workspace.read(keys.run(finished_run.RUN, "split.json"), SplitRef)
    key = keys.run(finished_run.RUN, "split.json")
    workspace.store.put(
        key, msgspec.json.encode(msgspec.structs.replace(split, warnings=("98 % cold",))), JSON
    )
    stack, warned = cast("Stack", _OfOneRun(workspace)), set()
    running = [task("split", "running"), task("validate", "success")]
    assert list(watch._find_warnings(stack, "any", running, warned)) == []
    done = [task("split", "success"), task("validate", "success"), task("train_mlp", "running")]
    assert list(watch._find_warnings(stack, "any", done, warned)) == ["98 % cold"]
    assert list(watch._find_warnings(stack, "any", done, warned)) == []


def test_tasks_are_listed_in_the_order_in_which_they_began() -> None:
    tasks = [
        task("publish", None),
        task("split", "running", began=BEGAN + timedelta(seconds=9)),
        task("plan", "success", began=BEGAN),
    ]
    assert [one.task_id for one in watch.in_order(tasks)] == ["plan", "split", "publish"]


def test_a_task_that_runs_has_taken_time_already() -> None:
    assert task("plan", None).seconds is None
    seconds = task("plan", "running", began=datetime.now(UTC) - timedelta(seconds=5)).seconds
    assert seconds is not None
    assert 5 <= seconds < 6
