"""Show what a run found, leave a copy of what it published, and say why a run failed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mftasks import published
from mftasks.published.manifest import read_manifest
from mftasks.published.results import tabulate_results
from mftasks.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mf_airflow.embedded.rest import Airflow
    from mftasks.store.workspace import Workspace

LAST_LINES = 15


def copy_out(workspace: Workspace, run_id: str, output: Path) -> Path:
    """Copy a published run to `output/<run_id>`, and point `output/latest` to it."""
    folder = published.copy(workspace, read_manifest(workspace, run_id), output / run_id)
    with tempfile.TemporaryDirectory(dir=output, prefix=".latest-") as beside:
        link = Path(beside) / "latest"
        link.symlink_to(run_id)
        link.replace(output / "latest")
    return folder


def show(workspace: Workspace, run_id: str) -> Table:
    """Return the results of a run."""
    return tabulate_results(read_manifest(workspace, run_id))


def explain(airflow: Airflow, run_id: str, console: Console) -> None:
    """Print the last lines of the log of every task that failed."""
    for task in airflow.tasks(run_id):
        if task.state == "failed":
            console.print(f"[bold red]{task.task_id} failed[/]; its log ends with:")
            for line in airflow.log_lines(run_id, task)[-LAST_LINES:]:
                console.print(printable(f"  {line}"), markup=False, highlight=False, soft_wrap=True)
