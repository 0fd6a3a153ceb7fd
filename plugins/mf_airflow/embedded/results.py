"""Give people the results of a run: in the terminal, in a folder and in Airflow's UI; or why it failed."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from mftasks import published
from mftasks.errors import MfError, StoreUnavailable
from mftasks.published import index
from mftasks.published.manifest import read_manifest
from mftasks.published.results import conclude, find_best, tabulate_results
from mftasks.terminal import plain, print_error, printable

if TYPE_CHECKING:
    from rich.console import Console

    from mf_airflow.embedded.rest import Airflow
    from mf_airflow.embedded.stack import Stack
    from mftasks.records import Manifest
    from mftasks.store.workspace import Workspace

LAST_LINES = 15


def hand_out(stack: Stack, run_id: str, output: Path, console: Console) -> None:
    """Copy a published run to `output`, print its results, and note them with the run in the UI."""
    manifest = read_manifest(stack.workspace, run_id)
    try:
        folder = copy_out(stack.workspace, run_id, output)
    except OSError as error:
        raise MfError(
            f"run {run_id} is published, but cannot be copied to {output}: {error}"
        ) from error
    console.print(tabulate_results(manifest))
    console.print(plain(f"files: {folder}"), soft_wrap=True)
    if made_for := manifest.dag_run:
        stack.airflow.note(made_for.dag_id, made_for.run_id, _summarize(manifest, folder))


def copy_out(workspace: Workspace, run_id: str, output: Path) -> Path:
    """Copy a published run to `output/<run_id>`, and point `output/latest` to it."""
    folder = published.copy(workspace, read_manifest(workspace, run_id), output / run_id)
    with tempfile.TemporaryDirectory(dir=output, prefix=".latest-") as beside:
        link = Path(beside) / "latest"
        link.symlink_to(run_id)
        link.replace(output / "latest")
    return folder


def _summarize(manifest: Manifest, folder: Path) -> str:
    best = find_best(manifest)
    return f"RMSE {best.rmse:.4f}: {conclude(best)}. Report: {folder.absolute()}/report.html"


class NewRuns:
    """The published runs that are still to be handed out: the newest at first, later every new one."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._known = {entry.run_id for entry in index.find(stack.workspace)[:-1]}

    def hand_out(self, output: Path, console: Console) -> None:
        """Hand out those that `output` lacks; what goes wrong is printed, once for each run."""
        with contextlib.suppress(StoreUnavailable):  # for now
            for entry in index.find(self._stack.workspace):
                if entry.run_id not in self._known and not (output / entry.run_id).exists():
                    self._try(entry.run_id, output, console)
                self._known.add(entry.run_id)

    def _try(self, run_id: str, output: Path, console: Console) -> None:
        try:
            hand_out(self._stack, run_id, output, console)
        except (MfError, httpx.TransportError) as error:
            print_error(f"{run_id} could not be handed out: {error}")


def explain(airflow: Airflow, run_id: str, console: Console) -> None:
    """Print the last lines of the log of every task that failed."""
    for task in airflow.tasks(run_id):
        if task.state == "failed":
            console.print(f"[bold red]{task.task_id} failed[/]; its log ends with:")
            for line in airflow.log_lines(run_id, task)[-LAST_LINES:]:
                console.print(printable(f"  {line}"), markup=False, highlight=False, soft_wrap=True)
