"""A store in an S3 bucket, for any number of machines."""

from __future__ import annotations

import base64
import contextlib
import itertools
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mftasks.errors import ChecksumMismatch, InvalidPlan, MissingRecord, StoreUnavailable
from mftasks.store.blobs import CHUNK, Data, Stored, sha256_of

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

MOST_DELETED_AT_ONCE = 1000  # S3's own bound


class S3Store:
    """Keep bytes as objects of an S3 bucket; one put is at most 5 GB, S3's own bound."""

    def __init__(self, bucket: str, prefix: str, endpoint: str | None) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self.endpoint = endpoint
        self._client = client(endpoint)

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
        return [stored.key for stored in self.list_with_times(prefix)]

    def list_with_times(self, prefix: str) -> Sequence[Stored]:
        with self._asking(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            return sorted(
                Stored(entry["Key"].removeprefix(self.prefix), entry["Size"], entry["LastModified"])
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

    def delete_many(self, keys: Iterable[str]) -> None:
        remaining = iter(keys)
        while batch := list(itertools.islice(remaining, MOST_DELETED_AT_ONCE)):
            self._delete_batch(batch)

    def _delete_batch(self, keys: Sequence[str]) -> None:
        objects = [{"Key": self.prefix + key} for key in keys]
        with self._asking(keys[0]):
            answer = self._client.delete_objects(
                Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
            )
        for error in answer.get("Errors", []):
            raise StoreUnavailable(
                f"store {self.uri}: cannot delete {error['Key']}: {error['Code']}"
                f" {error.get('Message', '')}"
            )

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


def client(
    endpoint: str | None,
    *,
    patient: bool = True,
    proxies: dict[str, str] | None = None,
    **keys: str,
) -> Any:
    """Return a boto3 client of an S3 server, Amazon's own by default.

    One that is not `patient` gives up at the first attempt, within seconds. `keys` are boto3's, and
    so is `proxies`; where they are not given, boto3 looks for them in the environment.
    """
    import boto3
    from botocore.config import Config

    connect_seconds, read_seconds, attempts = (5, 60, 5) if patient else (2, 10, 1)
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        config=Config(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            s3={"addressing_style": "path" if endpoint else "auto"},
            proxies=proxies,
        ),
        **keys,
    )


@contextlib.contextmanager
def _readable(data: Data) -> Iterator[Any]:
    if isinstance(data, bytes):
        yield data
    else:
        with data.open("rb") as file:
            yield file
