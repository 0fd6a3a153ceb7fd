"""Follow a run to its end: a live table on a terminal, one line per change in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import httpx
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from mf_airflow.embedded.rest import ENDED
from mftasks import progress, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from mf_airflow.embedded.rest import Airflow, TaskState
    from mf_airflow.embedded.stack import Stack
    from mftasks.progress import Tick

LOOK_EVERY_SECONDS = 0.5
MARKS = {
    "success": "[green]done",
    "failed": "[bold red]failed",
    "up_for_retry": "[yellow]will be retried",
    "up_for_reschedule": "[yellow]goes on soon",
    "upstream_failed": "[dim]not reached",
    "skipped": "[dim]not chosen",
    "running": "[cyan]running",
    None: "[dim]waiting",
}


class Display(Protocol):
    """What shows the state of a run, as often as it is looked at."""

    def show(self, tasks: list[TaskState], ticks: dict[str, Tick]) -> None: ...


def follow(stack: Stack, run_id: str, console: Console) -> str:
    """Show a run until it ends; return its state, success or failed.

    Raises `ServerFailed` when a part of the stack ends before the run does.
    """
    ticks: dict[str, Tick] = {}
    with _display(console) as display:
        while True:
            stack.check()
            with contextlib.suppress(httpx.TransportError):
                state = stack.airflow.run_state(run_id)
                tasks = in_order(stack.airflow.tasks(run_id))
                ticks |= _ticks(stack.airflow, run_id, tasks)
                display.show(tasks, ticks)
                if state in ENDED:
                    return state
            time.sleep(LOOK_EVERY_SECONDS)


def in_order(tasks: Iterable[TaskState]) -> list[TaskState]:
    """Return tasks in the order in which they began; those that have not yet come last."""
    return sorted(tasks, key=lambda task: (task.start_date is None, str(task.start_date)))


def _ticks(airflow: Airflow, run_id: str, tasks: list[TaskState]) -> dict[str, Tick]:
    found = {
        task.task_id: airflow.progress(run_id, task.task_id)
        for task in tasks
        if task.task_id.startswith("train_") and task.state in ("running", "success")
    }
    return {name: tick for name, tick in found.items() if tick is not None}


@contextlib.contextmanager
def _display(console: Console) -> Iterator[Display]:
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield _LiveTable(live)
    else:
        yield _Lines(console)


class _LiveTable:
    """A table with one row per task."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, tasks: list[TaskState], ticks: dict[str, Tick]) -> None:
        table = Table("task", "state", "seconds", "progress", box=None)
        for task in tasks:
            table.add_row(
                task.task_id,
                MARKS.get(task.state, task.state),
                "" if task.seconds is None else f"{task.seconds:.1f}",
                describe(ticks[task.task_id]) if task.task_id in ticks else "",
            )
        self._live.update(table)


class _Lines:
    """A line whenever a task changes its state or a training ends an epoch."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._printed: dict[str, str] = {}

    def show(self, tasks: list[TaskState], ticks: dict[str, Tick]) -> None:
        for task in tasks:
            if task.task_id in ticks:
                self._print(f"{task.task_id} progress", task.task_id, describe(ticks[task.task_id]))
            if task.state in MARKS and task.state is not None:
                self._print(task.task_id, task.task_id, MARKS[task.state])

    def _print(self, about: str, name: str, text: str) -> None:
        if self._printed.get(about) != text:
            self._printed[about] = text
            seconds = time.monotonic() - self._began
            self._console.print(f"{seconds:6.1f} s  {name:<16} {text}", highlight=False)


def describe(tick: Tick) -> str:
    """Return the progress that a tick reports, without the name of the work, for rich to show as it is."""
    return escape(terminal.printable(progress.describe(tick).partition(": ")[2]))
