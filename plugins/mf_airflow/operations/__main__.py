"""What a deployment needs from time to time: a command each.

python -m mf_airflow.operations backup backups/2026-11-24
python -m mf_airflow.operations restore backups/2026-11-24
python -m mf_airflow.operations rotate .secrets
python -m mf_airflow.operations upgrade
python -m mf_airflow.operations clean-up --days 90

Each works on the database and the store that Airflow and MF_STORE name. docs/operations.md tells what
each does, how long it takes, and what to look at afterwards.
"""

from __future__ import annotations

import logging
import os
import shlex
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mf_airflow.operations import commands, dump
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
DaysOption = Annotated[int, typer.Option(min=1, help="What is younger stays.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")]


@app.command()
def backup(folder: FolderArgument) -> None:
    """Copy database and store into a new folder; Airflow may go on meanwhile."""
    from mf_airflow.operations import backup

    made = backup.backup(folder, database=_database(), store=_store(), fernet_keys=_fernet_keys())
    _say(f"backed up {_described(made)} to {folder}; keep the secrets elsewhere")


@app.command()
def restore(
    folder: FolderArgument,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Make database and store what a backup says; Airflow must not run meanwhile."""
    from mf_airflow.operations import restore

    made = restore.restore(
        folder,
        database=_database(),
        store=_store(),
        fernet_keys=_fernet_keys(),
        overwrite=overwrite,
    )
    _say(f"restored {_described(made)}, made {made.made_at:%Y-%m-%d %H:%M} UTC")


@app.command()
def rotate(
    folder: Annotated[
        Path, typer.Argument(envvar="MF_SECRETS", help="The folder that holds a secret a file.")
    ],
    profiles: Annotated[
        str, typer.Option(envvar="COMPOSE_PROFILES", help="With seaweedfs, S3 keys are ours.")
    ] = "",
) -> None:
    """Replace every secret; what is encrypted stays readable. Airflow must not run meanwhile."""
    from mf_airflow.operations import rotation

    names = rotation.rotate(
        folder,
        database=_database(),
        own_s3="seaweedfs" in profiles.split(","),
        own_users=_configured("core", "auth_manager").endswith(FAB),
    )
    _say(f"new: {', '.join(names)}; the old ones are in {folder / rotation.OLD}")
    _say("next: create all containers anew, and tell Grafana its password (docs/operations.md)")


@app.command()
def upgrade() -> None:
    """Bring the database to the Airflow that is installed, and the DAGs into it.

    No other part of Airflow may run meanwhile.
    """
    dump.refuse_others(_database())
    before = _asked(REVISION)
    _run("airflow", "db", "migrate")
    _run("airflow", "db", "check-migrations", "--migration-wait-timeout", "5")
    _run("airflow", "dags", "reserialize")
    if errors := _asked(IMPORT_ERRORS):
        raise InvalidPlan("DAGs cannot be imported: " + "\n".join(errors))
    _say(f"database: revision {', '.join(before)} → {', '.join(_asked(REVISION))}")
    _say(f"DAGs: {', '.join(_asked(DAGS))}")


@app.command()
def clean_up(days: DaysOption, dry_run: DryRunOption = False) -> None:
    """Remove what is older: Airflow's records and logs, and runs with their data from the store."""
    before = datetime.now(UTC) - timedelta(days=days)
    dry = ("--dry-run",) if dry_run else ()
    clean = ("--clean-before-timestamp", before.isoformat(), "--skip-archive", "--yes")
    _run("airflow", "db", "clean", *clean, "--error-on-cleanup-failure", *dry)
    _run("mftasks", "prune", "--days", str(days), *dry)
    logs = Path(_configured("logging", "base_log_folder"))
    n_files, n_bytes = _remove_logs(logs, before, dry_run=dry_run)
    told = "would remove" if dry_run else "removed"
    _say(f"{told}: {n_files} logs below {logs}, {n_bytes / 1e6:.1f} MB")


def _remove_logs(folder: Path, before: datetime, *, dry_run: bool) -> tuple[int, int]:
    """Remove logs that nobody has written to since, and the folders that are empty then."""
    old = [
        (path, found)
        for path in sorted(folder.rglob("*"), reverse=True)  # what is in a folder before the folder
        if (found := path.lstat()).st_mtime < before.timestamp()
    ]
    logs = [(path, found.st_size) for path, found in old if not stat.S_ISDIR(found.st_mode)]
    if not dry_run:
        for path, found in old:
            if not stat.S_ISDIR(found.st_mode):
                path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()
    return len(logs), sum(n_bytes for _, n_bytes in logs)


def _run(module: str, *arguments: str) -> None:
    """Run a command that a person could as well; raises `MfError` unless it succeeds."""
    command = [sys.executable, "-m", module, *arguments]
    _say(f"+ {shlex.join(command)}")
    if code := subprocess.run(command, env=os.environ, check=False).returncode:
        raise MfError(f"{module} {arguments[0]} ended with exit code {code}")


def _asked(query: str) -> list[str]:
    from sqlalchemy import text

    with dump.connected(_database()) as connection:
        return [str(one) for one in connection.execute(text(query)).scalars()]


def _store() -> Store:
    given = settings.read()
    return open_store(given.store, s3_endpoint=given.s3_endpoint)


def _database() -> str:
    return _configured("database", "sql_alchemy_conn")


def _fernet_keys() -> str:
    return _configured("core", "fernet_key")


def _configured(section: str, key: str) -> str:
    from airflow.configuration import conf

    return str(conf.get(section, key))


def _described(made: Backup) -> str:
    return f"the database and {len(made.objects)} objects, {made.n_bytes / 1e6:.1f} MB"


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    commands.main(app)
