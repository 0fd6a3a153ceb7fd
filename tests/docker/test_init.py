"""`python -m mf_airflow.operations.deploy init` on a real PostgreSQL, as the container does it: twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from mf_airflow.embedded import environment, servers
from tests.docker import compose, dockerfile
from tests.docker.compose import ROOT


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.PostgresServer]:
    with servers.postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


def variables(folder: Path, database: servers.PostgresServer) -> dict[str, str]:
    """Return what the container's process would see, with our own addresses and paths."""
    secrets = compose.make_env(folder).parent / ".secrets"
    (secrets / "postgres_password").chmod(0o600)
    (secrets / "postgres_password").write_text(database.password)
    service = compose.read(folder / ".env")["services"]["airflow-init"]
    image = dockerfile.environment("airflow")
    own = {"AIRFLOW_HOME": str(folder), "AIRFLOW_CONFIG": image["AIRFLOW_CONFIG"]}
    moved = {
        name: value.replace("$$", "$")
        .replace("/run/secrets", str(secrets))
        .replace("@postgres:5432/airflow", f"@127.0.0.1:{database.port}/postgres")
        .replace("/opt/airflow/docker", str(ROOT / "docker"))
        .replace("/opt/airflow", str(folder))
        for name, value in service["environment"].items()
    }
    return environment.inherited(os.environ) | own | moved


def init(folder: Path, given: dict[str, str], trainings: int) -> subprocess.CompletedProcess[str]:
    asked = (
        f"--admin-password-file={folder}/.secrets/admin_password",
        f"--trainings-at-once={trainings}",
    )
    return subprocess.run(
        [sys.executable, "-m", "mf_airflow.operations.deploy", "init", *asked],
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )


def rows(database: servers.PostgresServer, query: str) -> list[tuple[Any, ...]]:
    url = database.url.replace("+psycopg2", "")
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_it_can_be_repeated_and_follows_the_settings_but_keeps_the_users_password(
    tmp_path: Path, database: servers.PostgresServer
) -> None:
    given = variables(tmp_path, database)
    password = (tmp_path / ".secrets" / "admin_password").read_text()
    first = init(tmp_path, given, 3)
    assert first.returncode == 0, first.stderr
    assert password not in first.stdout + first.stderr
    pools = "SELECT slots FROM slot_pool WHERE pool = 'gpu'"
    users = (
        "SELECT username, password, name FROM ab_user JOIN ab_user_role ON ab_user.id = user_id "
        "JOIN ab_role ON ab_role.id = role_id"
    )
    assert rows(database, pools) == [(3,)]
    [(name, kept, role)] = rows(database, users)
    assert (name, role) == ("admin", "Admin")
    assert password not in kept
    (tmp_path / ".secrets" / "admin_password").chmod(0o600)
    (tmp_path / ".secrets" / "admin_password").write_text("another")
    second = init(tmp_path, given, 5)
    assert second.returncode == 0, second.stderr
    assert rows(database, pools) == [(5,)]
    assert rows(database, users) == [(name, kept, role)]


def test_an_empty_password_is_refused_in_one_sentence(
    tmp_path: Path, database: servers.PostgresServer
) -> None:
    given = variables(tmp_path, database)
    (tmp_path / ".secrets" / "admin_password").chmod(0o600)
    (tmp_path / ".secrets" / "admin_password").write_text("\n")
    refused = init(tmp_path, given, 3)
    assert refused.returncode == 64
    assert "is empty" in refused.stderr
