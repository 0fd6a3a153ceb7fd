"""Run a light step of the pipeline in the task's own process."""

from __future__ import annotations

import importlib
import logging
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from mf_airflow.monitoring import gauges
from mf_airflow.tasks import headlines
from mftasks import progress, settings
from mftasks.errors import MfError
from mftasks.store.workspace import Workspace

if TYPE_CHECKING:
    from mf_airflow.tasks.headlines import Headline
    from mftasks.records import DagRun

log = logging.getLogger(__name__)

WIDTH = 100  # of a line of Airflow's log that a narrow window shows whole


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
            record = verb(Workspace(settings.read()), run_id, *given, **options)
        gauges.emit(record)
        return headlines.of_run(run_id, record)
    except MfError as error:
        if error.retryable:
            raise
        _fail(error)


def _fail(error: MfError) -> NoReturn:
    """Fail the task at once; its log shows the message, and no frames of ours."""
    message = f"{type(error).__name__}: {error}"
    for line in message.splitlines():
        for part in textwrap.wrap(line, WIDTH):
            log.error("%s", part)
    raise AirflowFailException(message) from None
