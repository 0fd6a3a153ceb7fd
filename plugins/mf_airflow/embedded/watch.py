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
from rich.text import Text

from mf_airflow.embedded.rest import ENDED
from mftasks import progress, terminal
from mftasks.errors import StoreUnavailable
from mftasks.records import Profile, SplitRef
from mftasks.store import keys

if TYPE_CHECKING:
    from rich.console import Console

    from mf_airflow.embedded.rest import Airflow, TaskState
    from mf_airflow.embedded.stack import Stack
    from mftasks.progress import Tick

LOOK_EVERY_SECONDS = 0.5
WARNING_STEPS: dict[str, tuple[str, type[Profile | SplitRef]]] = {
    "validate": ("profile.json", Profile),
    "split": ("split.json", SplitRef),
}
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

    def warn(self, texts: Iterable[str]) -> None: ...


def follow(stack: Stack, run_id: str, console: Console) -> str:
    """Show a run until it ends; return its state, success or failed.

    Raises `ServerFailed` when a part of the stack ends before the run does.
    """
    ticks: dict[str, Tick] = {}
    warned: set[str] = set()
    with _display(console) as display:
        while True:
            stack.check()
            with contextlib.suppress(httpx.TransportError):
                state = stack.airflow.run_state(run_id)
                tasks = in_order(stack.airflow.tasks(run_id))
                ticks |= _ticks(stack.airflow, run_id, tasks)
                display.show(tasks, ticks)
                display.warn(_find_warnings(stack, run_id, tasks, warned))
                if state in ENDED:
                    return state
            time.sleep(LOOK_EVERY_SECONDS)


def in_order(tasks: Iterable[TaskState]) -> list[TaskState]:
    """Return tasks in the order in which they began; those that have not yet come last."""
    return sorted(tasks, key=lambda task: (task.start_date is None, str(task.start_date)))


def _find_warnings(
    stack: Stack, run_id: str, tasks: list[TaskState], warned: set[str]
) -> Iterator[str]:
    """Yield what the steps on the data warn of, as soon as each is done: before any training."""
    done = {task.task_id for task in tasks if task.state == "success"} - warned
    for step, (name, kind) in WARNING_STEPS.items():
        if step in done:
            with contextlib.suppress(StoreUnavailable):  # it is asked again
                key = keys.run(stack.airflow.store_run_id(run_id), name)
                record = stack.workspace.find(key, kind)
                warned.add(step)
                yield from record.warnings if record is not None else ()


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

    def warn(self, texts: Iterable[str]) -> None:
        for text in texts:  # above the table, where it stays
            self._live.console.print(_format_warning(text), soft_wrap=True)

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

    def warn(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._console.print(_format_warning(text), soft_wrap=True)

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


def _format_warning(text: str) -> Text:
    return Text.assemble(("warning", "bold yellow"), " ", terminal.plain(text))


def describe(tick: Tick) -> str:
    """Return the progress that a tick reports, without the name of the work, for rich to show as it is."""
    return escape(terminal.printable(progress.describe(tick).partition(": ")[2]))
