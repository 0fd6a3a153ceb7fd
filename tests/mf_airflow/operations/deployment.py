"""A deployment's state on real servers: databases that Airflow made, each a copy of one, and stores."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from mf_airflow.embedded import environment, servers
from mf_airflow.embedded.environment import ROOT

ENCRYPTED = "postgresql://people:opened-again@example.org:5432/films"
RUNS = ("kept", "old")

PREPARE = f"""
from mf_airflow.embedded.prepare import airflow
airflow("db", "migrate")
airflow("dags", "reserialize")
airflow("connections", "add", "films", "--conn-uri", {ENCRYPTED!r})
for run in {RUNS!r}:
    airflow("dags", "trigger", "movielens_mf", "--run-id", run)
"""


@dataclass(frozen=True)
class Database:
    """One database, the user who owns it, and the variables by which Airflow uses it."""

    port: int
    name: str
    password: str
    variables: dict[str, str]
    user: str = "airflow"

    @property
    def url(self) -> str:
        address = f"{self.user}:{self.password}@127.0.0.1:{self.port}/{self.name}"
        return f"postgresql+psycopg2://{address}"

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query; nothing of a statement."""
        with contextlib.closing(self.connect()) as connection, connection:
            cursor = connection.cursor()
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []

    def connect(self) -> Any:
        return psycopg2.connect(self.url.replace("+psycopg2", ""))

    def run(self, *command: str, **variables: str) -> tuple[int, str]:
        """Run a Python module as in this deployment; return its exit code and its output."""
        own = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.url}
        ended = subprocess.run(
            [sys.executable, *command],
            env=self.variables | own | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout

    def runs(self) -> list[str]:
        return [run for (run,) in self.ask("SELECT run_id FROM dag_run ORDER BY run_id")]

    def connection(self, fernet_key: str) -> str | None:
        """Return the URI of the stored connection as Airflow reads it with this key alone."""
        code, output = self.run(
            *("-m", "airflow", "connections", "get", "films", "--output", "json"),
            AIRFLOW__CORE__FERNET_KEY=fernet_key,
        )
        if code != 0:
            return None
        [found] = json.loads(output[output.index("[{") :])
        return found["get_uri"].replace("postgres://", "postgresql://")

    def operate(self, *command: str, **variables: str) -> str:
        """Run an operation that must succeed; return its output."""
        code, output = self.run("-m", "mf_airflow.operations", *command, **variables)
        assert code == 0, output
        return output


class Deployments:
    """A PostgreSQL server that gives copies of a database in which Airflow was prepared."""

    def __init__(self, server: servers.PostgresServer, variables: dict[str, str]) -> None:
        self.fernet_key = variables["AIRFLOW__CORE__FERNET_KEY"]
        self._first = Database(server.port, "postgres", server.password, variables)
        self._template = self.empty("prepared")
        code, output = self._template.run("-c", PREPARE)
        assert code == 0, output

    def empty(self, name: str = "") -> Database:
        return self._create(name or _draw_name(), "")

    def copy(self, name: str = "") -> Database:
        return self._create(name or _draw_name(), "TEMPLATE prepared")

    def drop(self, database: Database) -> None:
        self._do(f"DROP DATABASE {database.name} WITH (FORCE)")

    def owned_by(self, user: str, password: str) -> Database:
        """Return a copy for a user of its own, who may do all, as in the image of PostgreSQL."""
        self._do(f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{password}'")
        made = self.copy(user)
        return Database(made.port, made.name, password, made.variables, user)

    def _create(self, name: str, how: str) -> Database:
        self._do(f"CREATE DATABASE {name} {how}")
        return Database(self._first.port, name, self._first.password, self._first.variables)

    def _do(self, statement: str) -> None:
        with contextlib.closing(self._first.connect()) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)


def _draw_name() -> str:
    return f"database_{uuid.uuid4().hex}"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Deployments]:
    """Run PostgreSQL with a database of Airflow's that holds a connection and two runs."""
    home = folder / "airflow"
    home.mkdir()
    own = environment.Secrets(
        password=secrets.token_urlsafe(12),
        jwt_secret=secrets.token_urlsafe(64),
        session_key=secrets.token_urlsafe(32),
        fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    )
    airflow = environment.airflow_environment(home, own, database="", port=0, scheduled=False)
    variables = environment.inherited(os.environ) | airflow | {"MF_CACHE": str(folder / "cache")}
    variables["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    with servers.postgres(folder / "postgres") as server:
        yield Deployments(server, variables)
