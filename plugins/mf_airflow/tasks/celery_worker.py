"""Configure Celery as Airflow does, and have a worker that shuts down hand its trainings over.

AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS=mf_airflow.tasks.celery_worker.CONFIG

On SIGTERM a Celery worker takes no more tasks, and waits for those that it has. A training may take
days: it is asked to stop, stores its checkpoint, and is rescheduled, so that another worker goes on.
Light tasks are left to finish.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from celery.signals import worker_shutting_down

from mf_airflow.tasks import guard

if TYPE_CHECKING:
    from psutil import Process

log = logging.getLogger(__name__)

CONFIG = DEFAULT_CELERY_CONFIG
GUARD = str(Path(guard.__file__).resolve())


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def hand_over(**_: object) -> None:
    """Ask every guarded step that descends from this process to stop."""
    import psutil

    for process in _find_guards():
        log.info("asks process %d to store its checkpoint and to stop", process.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()


def _find_guards() -> Iterator[Process]:
    import psutil

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if GUARD in process.cmdline():
                yield process
