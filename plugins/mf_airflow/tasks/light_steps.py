"""Run a light step of the pipeline in the task's own process."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.configuration import AIRFLOW_HOME
from airflow.sdk.exceptions import AirflowFailException

from mf_airflow.monitoring import gauges
from mf_airflow.tasks import headlines
from mf_airflow.tasks.failure import fail
from mftasks import progress, settings
from mftasks.errors import MfError
from mftasks.store.workspace import Workspace

if TYPE_CHECKING:
    from mf_airflow.tasks.headlines import Headline
    from mftasks.records import DagRun


def plan(run_id: str, given: Mapping[str, Any], dag_run: DagRun | None = None) -> Headline:
    """Write the plan of a run; a parameter that is refused fails the task at once."""
    return _run("plan", run_id, dict(given), dag_run=dag_run)


def run_step(name: str, run_id: str) -> Headline:
    """Run `mftasks.steps.<name>`; an error that a retry cannot help fails the task at once."""
    with progress.reporter("lines") as on_tick:
        return _run(name, run_id, on_tick=on_tick)


def _run(name: str, run_id: str, *given: Any, **options: Any) -> Headline:
    verb = getattr(importlib.import_module(f"mftasks.steps.{name}"), name)
    try:
        with gauges.watching(name):
            record = verb(Workspace(_read_settings()), run_id, *given, **options)
        gauges.emit(record)
        return headlines.summarize_run(run_id, record)
    except MfError as error:
        if error.retryable:
            raise
        fail(f"{type(error).__name__}: {error}", AirflowFailException)


def _read_settings() -> settings.Settings:
    """Return the settings; whoever may trigger a run chooses its data set, but no file of the worker.

    Without MF_DATA_ROOTS, files of data sets must lie in the folder `data` of Airflow's home.
    """
    given = settings.read()
    if given.data_roots:
        return given
    return msgspec.structs.replace(given, data_roots=str(Path(AIRFLOW_HOME, "data")))
