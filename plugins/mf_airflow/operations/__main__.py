"""Commands that a deployment needs from time to time.

python -m mf_airflow.operations backup backups/2026-11-24
python -m mf_airflow.operations restore backups/2026-11-24
python -m mf_airflow.operations rotate .secrets
python -m mf_airflow.operations upgrade
python -m mf_airflow.operations clean-up --days 90

They work on the database that Airflow is configured for, and on the store MF_STORE. docs/operations.md
describes what each does, how long it takes, and what to look at afterwards.
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mf_airflow.operations import commands, dump, logs
from mftasks import settings
from mftasks.errors import InvalidPlan, MfError
from mftasks.store import open_store

if TYPE_CHECKING:
    from mf_airflow.operations.backup import Backup
    from mftasks.store import Store

FAB = "FabAuthManager"
REVISION = "SELECT version_num FROM alembic_version"
IMPORT_ERRORS = "SELECT filename || ': ' || stacktrace FROM import_error"
DAGS = "SELECT dag_id FROM dag WHERE NOT is_stale ORDER BY dag_id"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

FolderArgument = Annotated[Path, typer.Argument(help="The folder of the backup.")]
DaysOption = Annotated[int, typer.Option(min=1, help="What has changed within so many days stays.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")]


@app.command()
def backup(folder: FolderArgument) -> None:
    """Copy database and store into a new folder; Airflow may be running."""
    from mf_airflow.operations import backup

    contents = backup.backup(
        folder, database=_read_database(), store=_open_store(), fernet_keys=_read_fernet_keys()
    )
    _print(f"backed up {_describe(contents)} to {folder}; keep the secrets elsewhere")


@app.command()
def restore(
    folder: FolderArgument,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Restore database and store from a backup; Airflow must not be running."""
    from mf_airflow.operations import restore

    contents = restore.restore(
        folder,
        database=_read_database(),
        store=_open_store(),
        fernet_keys=_read_fernet_keys(),
        overwrite=overwrite,
    )
    _print(f"restored {_describe(contents)}, as of {contents.made_at:%Y-%m-%d %H:%M} UTC")


@app.command()
def rotate(
    folder: Annotated[
        Path, typer.Argument(envvar="MF_SECRETS", help="The folder that holds one secret per file.")
    ],
    profiles: Annotated[
        str,
        typer.Option(envvar="COMPOSE_PROFILES", help="With seaweedfs, S3 keys are replaced, too."),
    ] = "",
) -> None:
    """Replace every secret; what is encrypted stays readable. Airflow must not be running."""
    from mf_airflow.operations import rotation

    names = rotation.rotate(
        folder,
        database=_read_database(),
        own_s3="seaweedfs" in profiles.split(","),
        own_users=_read_option("core", "auth_manager").endswith(FAB),
    )
    _print(f"new: {', '.join(names)}; the old ones are in {folder / rotation.OLD}")
    _print("next: create all containers again, and give Grafana its password (docs/operations.md)")


@app.command()
def upgrade() -> None:
    """Bring the database to the Airflow that is installed, and the DAGs into it.

    No other part of Airflow may be running.
    """
    dump.refuse_others(_read_database())
    before = _ask(REVISION)
    _run("airflow", "db", "migrate")
    _run("airflow", "db", "check-migrations", "--migration-wait-timeout", "5")
    _run("airflow", "dags", "reserialize")
    if errors := _ask(IMPORT_ERRORS):
        raise InvalidPlan("DAGs cannot be imported: " + "\n".join(errors))
    _print(f"database: revision {', '.join(before)} → {', '.join(_ask(REVISION))}")
    _print(f"DAGs: {', '.join(_ask(DAGS))}")


@app.command()
def clean_up(days: DaysOption, dry_run: DryRunOption = False) -> None:
    """Remove what is older: Airflow's records and logs, and runs with their data from the store."""
    before = datetime.now(UTC) - timedelta(days=days)
    dry = ("--dry-run",) if dry_run else ()
    clean = ("--clean-before-timestamp", before.isoformat(), "--skip-archive", "--yes")
    _run("airflow", "db", "clean", *clean, "--error-on-cleanup-failure", *dry)
    _run("mftasks", "prune", "--days", str(days), *dry)
    folder = Path(_read_option("logging", "base_log_folder"))
    n_files, n_bytes = logs.remove_logs(folder, before, dry_run=dry_run)
    done = "would remove" if dry_run else "removed"
    _print(f"{done}: {n_files} logs below {folder}, {n_bytes / 1e6:.1f} MB")


def _run(module: str, *arguments: str) -> None:
    """Run a command that a person could run as well; raises `MfError` unless it succeeds."""
    command = [sys.executable, "-m", module, *arguments]
    _print(f"+ {shlex.join(command)}")
    if code := subprocess.run(command, env=os.environ, check=False).returncode:
        raise MfError(f"{module} {arguments[0]} ended with exit code {code}")


def _ask(query: str) -> list[str]:
    from sqlalchemy import text

    with dump.connect(_read_database()) as connection:
        return [str(one) for one in connection.execute(text(query)).scalars()]


def _open_store() -> Store:
    given = settings.read()
    return open_store(given.store, s3_endpoint=given.s3_endpoint)


def _read_database() -> str:
    return _read_option("database", "sql_alchemy_conn")


def _read_fernet_keys() -> str:
    return _read_option("core", "fernet_key")


def _read_option(section: str, key: str) -> str:
    from airflow.configuration import conf

    return str(conf.get(section, key))


def _describe(contents: Backup) -> str:
    return f"the database and {len(contents.objects)} objects, {contents.n_bytes / 1e6:.1f} MB"


def _print(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    commands.main(app)
