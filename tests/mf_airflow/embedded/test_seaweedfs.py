"""SeaweedFS keeps what it is given, and gives nobody without its keys anything."""

from __future__ import annotations

import contextlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from botocore.exceptions import EndpointConnectionError

from mf_airflow.embedded import seaweedfs
from mf_airflow.embedded.process import ServerFailed
from mf_airflow.embedded.seaweedfs import S3Server, SeaweedFS

BUCKET = "movielens"
HELD = b"what nobody else may read"
PATHS = (
    f"/{BUCKET}/held",
    f"/buckets/{BUCKET}/held",
    f"/buckets/{BUCKET}/?recursive=true",
    "/dir/assign",
    "/dir/lookup?volumeId=1",
    "/vol/grow?count=1",
    f"/col/delete?collection={BUCKET}",
    "/1,01637037d6",
    "/metrics",
    "/debug/pprof/",
)
HOW_FULL_IT_IS = ("/", "/status")  # some ports show this to whoever asks, and nothing else
# Every service of SeaweedFS that could be asked to read, write, delete, or to make an identity.
METHODS = (
    "/filer_pb.SeaweedFiler/ListEntries",
    "/filer_pb.SeaweedFiler/CreateEntry",
    "/filer_pb.SeaweedFiler/DeleteEntry",
    "/master_pb.Seaweed/Assign",
    "/master_pb.Seaweed/CollectionDelete",
    "/volume_server_pb.VolumeServer/VolumeDelete",
    "/iam_pb.SeaweedIdentityAccessManagement/CreateUser",
    "/s3_pb.SeaweedS3IamCache/PutIdentity",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seaweedfs")


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[SeaweedFS]:
    """Give a running SeaweedFS that holds an object."""
    with seaweedfs.seaweedfs_starting(folder, bucket=BUCKET) as store:
        store.wait()
        store.server.client().put_object(Bucket=BUCKET, Key="held", Body=HELD)
        yield store


@pytest.fixture(scope="module")
def addresses(store: SeaweedFS) -> list[str]:
    """Give the addresses that the processes of SeaweedFS listen at."""
    found = [
        each.laddr
        for one in psutil.Process(store.process._guard.pid).children(recursive=True)
        for each in one.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    assert len(found) >= 8
    assert {ip for ip, _ in found} == {"127.0.0.1"}
    return [f"{ip}:{port}" for ip, port in found]


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_without_keys_no_port_gives_or_takes_anything_over_http(
    store: SeaweedFS, addresses: list[str], method: str
) -> None:
    for address in addresses:
        for path in (*PATHS, *HOW_FULL_IT_IS):
            answer = _ask(method, address, path)
            if answer is not None:
                refused = answer.status_code in (400, 401, 403, 404, 405)
                assert refused or path in HOW_FULL_IT_IS, (address, path, answer)
                assert b"held" not in answer.content or refused
    body = store.server.client().get_object(Bucket=BUCKET, Key="held")["Body"]
    assert body.read() == HELD


def _ask(method: str, address: str, path: str) -> httpx.Response | None:
    """Return the answer, or None if the port speaks no HTTP."""
    body = b"of a stranger" if method in ("PUT", "POST") else None
    with contextlib.suppress(httpx.TransportError):
        return httpx.request(
            method, f"http://{address}{path}", content=body, trust_env=False, timeout=5
        )
    return None


def test_without_its_certificate_no_port_answers_over_grpc(
    folder: Path, tmp_path: Path, addresses: list[str]
) -> None:
    seaweedfs._write_certificate(tmp_path / "tls.crt", tmp_path / "tls.key")
    root = (folder / "tls.crt").read_bytes()
    strangers = {
        "without TLS": None,
        "without a certificate": grpc.ssl_channel_credentials(root),
        "with another certificate": _credentials(root, tmp_path),
    }
    for address in addresses:
        for who, credentials in strangers.items():
            for method in METHODS:
                assert _call(address, method, credentials) == grpc.StatusCode.UNAVAILABLE, who
    own = {_call(address, METHODS[0], _credentials(root, folder)) for address in addresses}
    assert grpc.StatusCode.UNIMPLEMENTED in own  # so that a stranger's failures mean something


def _credentials(root: bytes, folder: Path) -> grpc.ChannelCredentials:
    certificate, key = (folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes()
    return grpc.ssl_channel_credentials(root, key, certificate)


def _call(
    address: str, method: str, credentials: grpc.ChannelCredentials | None
) -> grpc.StatusCode:
    named = (("grpc.ssl_target_name_override", "SeaweedFS"),)
    channel = (
        grpc.secure_channel(address, credentials, named)
        if credentials
        else grpc.insecure_channel(address)
    )
    with channel:
        try:
            channel.unary_unary(method)(b"", timeout=5)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK


def test_no_socket_file_lets_another_user_in(store: SeaweedFS) -> None:
    sockets = [
        file for port in store._ports for file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")
    ]
    assert sockets
    for file in sockets:
        assert not file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH), file


def test_with_its_keys_s3_does_all_that_the_pipeline_does(store: SeaweedFS) -> None:
    client = store.server.client()
    client.put_object(Bucket=BUCKET, Key="runs/a", Body=b"1", IfNoneMatch="*")
    assert client.list_objects_v2(Bucket=BUCKET, Prefix="runs/")["KeyCount"] == 1
    upload = {"Bucket": BUCKET, "Key": "runs/b"}
    upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": client.upload_part(**upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in ((1, b"x" * (5 << 20)), (2, b"y"))
    ]
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    client.copy_object(Bucket=BUCKET, Key="runs/c", CopySource=f"{BUCKET}/runs/b")
    body = client.get_object(Bucket=BUCKET, Key="runs/c")["Body"]
    assert body.read() == b"x" * (5 << 20) + b"y"
    gone = [{"Key": "runs/a"}, {"Key": "runs/b"}, {"Key": "runs/c"}]
    client.delete_objects(Bucket=BUCKET, Delete={"Objects": gone})
    assert client.list_objects_v2(Bucket=BUCKET, Prefix="runs/")["KeyCount"] == 0


def test_keys_are_their_owners_alone(folder: Path, store: SeaweedFS) -> None:
    for name in ("s3.json", "tls.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    stranger = S3Server(store.server.endpoint, "guessed", "guessed", BUCKET).client()
    with pytest.raises(stranger.exceptions.ClientError, match="InvalidAccessKeyId"):
        stranger.list_buckets()


def test_it_comes_back_with_its_objects_and_its_keys(tmp_path: Path) -> None:
    store = SeaweedFS(tmp_path, bucket=BUCKET)
    with _running(store):
        client = store.server.client()
        for number in range(50):
            client.put_object(Bucket=BUCKET, Key=f"runs/{number}", Body=b"x" * 1000 * number)
    with pytest.raises(EndpointConnectionError):
        client.get_object(Bucket=BUCKET, Key="runs/1")
    assert [list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock")) for port in store._ports] == [
        []
    ] * 8
    with _running(store):
        assert client.get_object(Bucket=BUCKET, Key="runs/1")["Body"].read() == b"x" * 1000
    again = SeaweedFS(tmp_path, bucket=BUCKET)
    assert again.server.access_key == store.server.access_key
    assert again.server.secret_key == store.server.secret_key
    with _running(again):
        client = again.server.client()
        for number in range(50):
            body = client.get_object(Bucket=BUCKET, Key=f"runs/{number}")["Body"]
            assert len(body.read()) == 1000 * number


@contextlib.contextmanager
def _running(store: SeaweedFS) -> Iterator[None]:
    with contextlib.ExitStack() as stopped_at_exit:
        stopped_at_exit.callback(store.stop)
        store.start()
        store.wait()
        yield


@pytest.mark.parametrize("broken", ["", "{}", json.dumps({"identities": [{"credentials": []}]})])
def test_keys_are_drawn_again_if_their_file_is_broken(tmp_path: Path, broken: str) -> None:
    (tmp_path / "s3.json").write_text(broken)
    drawn = SeaweedFS(tmp_path, bucket=BUCKET).server
    assert SeaweedFS(tmp_path, bucket=BUCKET).server.secret_key == drawn.secret_key
    assert len(drawn.secret_key) == 40


def test_one_that_was_not_started_is_not_waited_for(tmp_path: Path) -> None:
    store = SeaweedFS(tmp_path, bucket=BUCKET)
    with pytest.raises(ServerFailed, match="not started"):
        store.wait()
    store.stop()
