"""The object store: the only thing that steps share, whatever host they run on.

`open_store("s3://bucket/prefix")` or `open_store("file:///path")`. Every put is atomic and
checksummed; `put_if_absent` and `put_if_match` are conditional, so that two writers cannot both win.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from mftasks.errors import ChecksumMismatch, InvalidPlan, MissingRecord, StoreUnavailable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

Data = bytes | Path
CHUNK = 1 << 20


class Store(Protocol):
    """Keep bytes under keys.

    Every method raises `StoreUnavailable` where the store does not answer; reading a key that is
    not there raises `MissingRecord`. `data` is bytes or the path of a file, read in a stream. An
    etag changes whenever the bytes of a key do.
    """

    uri: str

    def get(self, key: str) -> bytes: ...

    def get_with_etag(self, key: str) -> tuple[bytes, str]: ...

    def download(self, key: str, path: Path) -> None: ...

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> list[str]: ...

    def put(self, key: str, data: Data, content_type: str) -> None: ...

    def put_if_absent(self, key: str, data: Data, content_type: str) -> bool: ...

    def put_if_match(self, key: str, data: Data, content_type: str, etag: str) -> bool: ...

    def delete(self, key: str) -> None: ...


def open_store(uri: str, *, s3_endpoint: str | None = None) -> Store:
    """Open the store at `uri`; raises `InvalidPlan` for a scheme other than s3 and file."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.path and parts.netloc in ("", "localhost"):
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return S3Store(parts.netloc, parts.path.strip("/"), s3_endpoint)
    raise InvalidPlan(f"store {uri!r} is neither s3://bucket/prefix nor file:///path")


def sha256_of(data: Data) -> str:
    """Return the sha256 of bytes or of a file, in hex."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LocalStore:
    """Keep bytes as files below a folder; writers on one host exclude each other by a lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = root.absolute().as_uri()

    def get(self, key: str) -> bytes:
        with self._reading(key):
            return self._path(key).read_bytes()

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        data = self.get(key)
        return data, sha256_of(data)

    def download(self, key: str, path: Path) -> None:
        with self._reading(key):
            shutil.copyfile(self._path(key), path)

    def exists(self, key: str) -> bool:
        with self._reading(key):
            return self._path(key).is_file()

    def list(self, prefix: str) -> list[str]:
        folder = self._path(prefix) if prefix.endswith("/") else self._path(prefix).parent
        with self._reading(prefix):
            keys = (
                path.relative_to(self.root).as_posix()
                for path in folder.rglob("*")
                if path.is_file() and not path.name.startswith(".")
            )
            return sorted(key for key in keys if key.startswith(prefix))

    def put(self, key: str, data: Data, content_type: str) -> None:
        with self._written(key, data) as written:
            written.replace(self._path(key))

    def put_if_absent(self, key: str, data: Data, content_type: str) -> bool:
        with self._written(key, data) as written:
            try:
                self._path(key).hardlink_to(written)
            except FileExistsError:
                return False
            return True

    def put_if_match(self, key: str, data: Data, content_type: str, etag: str) -> bool:
        with self._locked(), contextlib.suppress(MissingRecord):
            if self.get_with_etag(key)[1] == etag:
                self.put(key, data, content_type)
                return True
        return False

    def delete(self, key: str) -> None:
        with self._reading(key):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        if ".." in key.split("/") or key.startswith("/"):
            raise InvalidPlan(f"key {key!r} leaves the store; keys are relative and without '..'")
        return self.root / key

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise MissingRecord(f"{self.uri}/{key} is not there") from error
        except OSError as error:
            raise StoreUnavailable(f"store {self.uri}: {error}") from error

    @contextlib.contextmanager
    def _written(self, key: str, data: Data) -> Iterator[Path]:
        """Give a complete, synced file beside the key's own, so that one rename publishes it."""
        target = self._path(key)
        temporary: Path | None = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=target.parent, prefix=".put-", delete=False
            ) as file:
                temporary = Path(file.name)
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file, CHUNK)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            yield temporary
        except OSError as error:
            raise StoreUnavailable(f"store {self.uri}: cannot write {key}: {error}") from error
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class S3Store:
    """Keep bytes as objects of an S3 bucket; one put is at most 5 GB, S3's own bound."""

    def __init__(self, bucket: str, prefix: str, endpoint: str | None) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self.endpoint = endpoint
        self._client = _s3_client(endpoint)

    def get(self, key: str) -> bytes:
        return self.get_with_etag(key)[0]

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        with self._asking(key):
            answer = self._client.get_object(**self._object(key))
            return answer["Body"].read(), answer["ETag"]

    def download(self, key: str, path: Path) -> None:
        with self._asking(key):
            answer = self._client.get_object(**self._object(key))
            with path.open("wb") as file:
                shutil.copyfileobj(answer["Body"], file, CHUNK)

    def exists(self, key: str) -> bool:
        try:
            with self._asking(key):
                self._client.head_object(**self._object(key))
        except MissingRecord:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        with self._asking(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            return sorted(
                entry["Key"].removeprefix(self.prefix)
                for page in pages
                for entry in page.get("Contents", [])
            )

    def put(self, key: str, data: Data, content_type: str) -> None:
        self._put(key, data, content_type, {})

    def put_if_absent(self, key: str, data: Data, content_type: str) -> bool:
        return self._put(key, data, content_type, {"IfNoneMatch": "*"})

    def put_if_match(self, key: str, data: Data, content_type: str, etag: str) -> bool:
        return self._put(key, data, content_type, {"IfMatch": etag})

    def delete(self, key: str) -> None:
        with self._asking(key):
            self._client.delete_object(**self._object(key))

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _put(self, key: str, data: Data, content_type: str, condition: dict[str, str]) -> bool:
        checksum = bytes.fromhex(sha256_of(data))
        try:
            with self._asking(key), _readable(data) as body:
                self._client.put_object(
                    **self._object(key),
                    **condition,
                    Body=body,
                    ContentType=content_type,
                    ChecksumSHA256=base64.b64encode(checksum).decode(),
                )
        except _ConditionFailed:
            return False
        return True

    @contextlib.contextmanager
    def _asking(self, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise self._translated(error, key) from error
        except BotoCoreError as error:
            where = self.endpoint or "Amazon S3"
            raise StoreUnavailable(f"store {self.uri} at {where}: {error}") from error

    def _translated(self, error: ClientError, key: str) -> Exception:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = error.response.get("Error", {}).get("Code", "")
        if code == "NoSuchBucket":
            return InvalidPlan(f"bucket {self.bucket!r} is not there; create it, or mend MF_STORE")
        if status in (409, 412):
            return _ConditionFailed(key)
        if status == 404:
            return MissingRecord(f"{self.uri}/{key} is not there")
        if code in ("BadDigest", "XAmzContentChecksumMismatch"):
            return ChecksumMismatch(f"{self.uri}/{key}: altered on the way to the store: {error}")
        return StoreUnavailable(f"store {self.uri}/{key}: {error}")


class _ConditionFailed(Exception):
    """Say that the condition of a put did not hold; it never leaves this module."""


def _s3_client(endpoint: str | None) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 5},
            s3={"addressing_style": "path" if endpoint else "auto"},
        ),
    )


@contextlib.contextmanager
def _readable(data: Data) -> Iterator[Any]:
    if isinstance(data, bytes):
        yield data
    else:
        with data.open("rb") as file:
            yield file
