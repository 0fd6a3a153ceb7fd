"""Bring Airflow's database up to date, and the DAGs into it, in one process.

python -m mf_airflow.embedded.prepare VERSION_FILE

Importing Airflow takes longer than either. VERSION_FILE holds the version of Airflow that created the
tables, so that this happens once, and so that the components know when they may begin.
"""

from __future__ import annotations

import contextlib
import sys
from importlib.metadata import version
from pathlib import Path


def main(noted: Path) -> None:
    """Run the two commands of Airflow that do it."""
    if not is_current(noted):
        airflow("db", "migrate")
        noted.write_text(version("apache-airflow"))
    airflow("dags", "reserialize")


def is_current(noted: Path) -> bool:
    """Return whether the installed version of Airflow has created the tables."""
    with contextlib.suppress(FileNotFoundError):
        return noted.read_text() == version("apache-airflow")
    return False


def airflow(*command: str) -> None:
    """Run one of Airflow's commands in this process."""
    from airflow.cli.cli_parser import get_parser

    arguments = get_parser().parse_args(command)
    arguments.func(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
