"""Run one of Airflow's long-lived components, imported while its tables are still being created.

python -m mf_airflow.embedded.component VERSION_FILE COMMAND…

Its imports take seconds. It begins once VERSION_FILE shows that the tables are up to date.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

from mf_airflow.embedded.prepare import airflow, is_current

LOOK_EVERY_SECONDS = 0.1
MODULES = {
    "api-server": (
        "airflow.api_fastapi.app",
        "airflow.api_fastapi.core_api.routes.public",
        "airflow.api_fastapi.execution_api.routes",
    ),
    "dag-processor": ("airflow.dag_processing.manager",),
    "scheduler": ("airflow.jobs.scheduler_job_runner", "airflow.executors.local_executor"),
}


def main(noted: Path, command: list[str]) -> None:
    """Import, wait, and do what `airflow COMMAND…` does."""
    for name in MODULES[command[0]]:
        importlib.import_module(name)
    while not is_current(noted):
        time.sleep(LOOK_EVERY_SECONDS)
    airflow(*command)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
