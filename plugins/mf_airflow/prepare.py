"""Run several of Airflow's own commands in one process: importing Airflow takes longer than any.

python -m mf_airflow.prepare "db migrate" "dags reserialize"
"""

from __future__ import annotations

import sys


def main(commands: list[str]) -> None:
    """Run each command as `airflow` would."""
    from airflow.cli.cli_parser import get_parser

    parser = get_parser()
    for command in commands:
        arguments = parser.parse_args(command.split())
        arguments.func(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
