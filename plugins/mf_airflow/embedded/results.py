"""Show what a run found, leave a copy of what it published, and say why a run failed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from mftasks import published
from mftasks.records import Manifest, TrainResult
from mftasks.store.workspace import Workspace, network_key, run_key

if TYPE_CHECKING:
    from rich.console import Console

    from mf_airflow.embedded.rest import Airflow

LAST_LINES = 15


def copy_out(workspace: Workspace, run_id: str, output: Path) -> Path:
    """Copy a published run to `output/<run_id>`, and point `output/latest` to it."""
    manifest = workspace.read(run_key(run_id, "manifest.json"), Manifest)
    folder = published.copy(workspace, manifest, output / run_id)
    with tempfile.TemporaryDirectory(dir=output, prefix=".latest-") as beside:
        link = Path(beside) / "latest"
        link.symlink_to(run_id)
        link.replace(output / "latest")
    return folder


def table(workspace: Workspace, run_id: str, folder: Path) -> Table:
    """Return the results of a run, best network first."""
    manifest = workspace.read(run_key(run_id, "manifest.json"), Manifest)
    shown = Table(
        *("network", "RMSE", "95 % interval", "baseline", "epochs", "seconds", "where it lies"),
        title=f"{manifest.dataset.name}, run {run_id}",
    )
    for one in sorted(manifest.evaluations, key=lambda one: one.rmse):
        key = network_key(run_id, one.network, "train.json")
        trained = workspace.read(key, TrainResult)
        shown.add_row(
            one.network,
            f"{one.rmse:.4f}",
            f"{one.rmse_interval.low:.4f} – {one.rmse_interval.high:.4f}",
            f"{min(one.baselines.values()):.4f}",
            f"{trained.best_epoch} of {len(trained.history)}",
            f"{trained.seconds:.1f}",
            f"{folder}/{one.network}/",
        )
    return shown


def explain(airflow: Airflow, run_id: str, console: Console) -> None:
    """Print the last lines of the log of every task that failed."""
    for task in airflow.tasks(run_id):
        if task.state == "failed":
            console.print(f"[bold red]{task.task_id} failed[/]; its log ends with:")
            for line in airflow.log_lines(run_id, task)[-LAST_LINES:]:
                console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
