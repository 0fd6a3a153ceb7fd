"""A store in an S3 bucket, for any number of machines."""

from __future__ import annotations

import base64
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tenacity

from mftasks.errors import InvalidPlan, MissingRecord, StoreUnavailable
from mftasks.store import keys, s3_errors
from mftasks.store.blobs import CHUNK, Data, Stored, sha256_of
from mftasks.store.s3_client import client, keys_of

log = logging.getLogger(__name__)

T = TypeVar("T")
Ask = Callable[[Any], T]
"""Ask S3 by the client that is given."""

MOST_DELETED_AT_ONCE = 1000  # S3's own bound
ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.2
PROBE = ".conditional-put"


class _Again(Exception):
    """An answer after which the request is repeated; its cause is why. It never leaves this module."""


class S3Store:
    """Bytes as objects of an S3 bucket; one put is at most 5 GB, S3's own bound."""

    def __init__(self, bucket: str, prefix: str, endpoint: str | None) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self.endpoint = endpoint
        self._client = client(endpoint)
        self._keeps_conditions = False
        self._takes_checksums = True

    def get(self, key: str) -> bytes:
        return self.get_with_etag(key)[0]

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        def read(s3: Any) -> tuple[bytes, str]:
            answer = s3.get_object(**self._object(key))
            return b"".join(_read_chunks(answer["Body"])), answer["ETag"]

        return self._ask(key, read)

    def download(self, key: str, path: Path) -> None:
        def read(s3: Any) -> None:
            answer = s3.get_object(**self._object(key))
            with path.open("wb") as file:
                file.writelines(_read_chunks(answer["Body"]))

        self._ask(key, read)

    def exists(self, key: str) -> bool:
        try:
            self._ask(key, lambda s3: s3.head_object(**self._object(key)))
        except MissingRecord:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        return [stored.key for stored in self.list_with_times(prefix)]

    def list_with_times(self, prefix: str) -> Sequence[Stored]:
        def read(s3: Any) -> list[Stored]:
            pages = s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            return sorted(itertools.chain.from_iterable(map(self._read_page, pages)))

        return self._ask(prefix, read)

    def put(self, key: str, data: Data, content_type: str) -> None:
        self._put(key, data, content_type, {})

    def put_if_absent(self, key: str, data: Data, content_type: str) -> bool:
        self._probe_conditions()
        return self._put(key, data, content_type, {"IfNoneMatch": "*"})

    def put_if_match(self, key: str, data: Data, content_type: str, etag: str) -> bool:
        self._probe_conditions()
        return self._put(key, data, content_type, {"IfMatch": etag})

    def delete(self, key: str) -> None:
        self._ask(key, lambda s3: s3.delete_object(**self._object(key)))

    def delete_many(self, keys: Iterable[str]) -> None:
        remaining = iter(keys)
        while batch := list(itertools.islice(remaining, MOST_DELETED_AT_ONCE)):
            self._delete_batch(batch)

    def _delete_batch(self, keys: Sequence[str]) -> None:
        from botocore.exceptions import ClientError

        def delete(s3: Any) -> Any:
            objects = [{"Key": self.prefix + key} for key in keys]
            try:
                return s3.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
                )
            except ClientError as error:
                if s3_errors.code_of(error) not in s3_errors.NOT_UNDERSTOOD:
                    raise
            for key in keys:  # some servers need an MD5 that boto3 no longer sends
                s3.delete_object(**self._object(key))
            return {}

        for error in self._ask(keys[0], delete).get("Errors", []):
            raise StoreUnavailable(
                f"store {self.uri}: cannot delete {error['Key']}: {error['Code']}"
                f" {error.get('Message', '')}"
            )

    def _read_page(self, page: dict[str, Any]) -> Iterator[Stored]:
        """Read one page of a list; whatever else a server answers does not mean an empty bucket."""
        cut_off = page.get("IsTruncated") and "NextContinuationToken" not in page
        if cut_off or not {"Name", "IsTruncated"} <= page.keys():
            raise StoreUnavailable(
                f"store {self.uri}: the answer is no whole list; see what is at {self._where()}"
            )
        for entry in page.get("Contents", []):
            key = entry["Key"].removeprefix(self.prefix)
            if key != PROBE:
                yield Stored(key, entry["Size"], entry["LastModified"])

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + keys.check(key)}

    def _where(self) -> str:
        return self.endpoint or "Amazon S3"

    def _probe_conditions(self) -> None:
        """Refuse a server that ignores conditions: two writers could both win."""
        if self._keeps_conditions:
            return
        for _ in range(2):  # the first of all creates the object
            if not self._put(PROBE, b"", "text/plain", {"IfNoneMatch": "*"}):
                self._keeps_conditions = True
                return
        raise InvalidPlan(
            f"store {self.uri} at {self._where()} overwrites objects in spite of If-None-Match; "
            "use an S3 server that keeps conditions, such as Amazon S3 or SeaweedFS"
        )

    def _put(self, key: str, data: Data, content_type: str, condition: dict[str, str]) -> bool:
        """Put an object; return False if the condition does not hold."""
        from botocore.exceptions import ClientError

        checksum = base64.b64encode(bytes.fromhex(sha256_of(data))).decode()

        def put(s3: Any) -> bool:
            options = condition | ({"ChecksumSHA256": checksum} if self._takes_checksums else {})
            try:
                with _open(data) as body:
                    s3.put_object(
                        **self._object(key), **options, Body=body, ContentType=content_type
                    )
            except ClientError as error:
                if condition and s3_errors.refuses_condition(error):
                    return False
                if self._takes_checksums and s3_errors.code_of(error) in s3_errors.NOT_UNDERSTOOD:
                    log.warning("store %s: puts go on without checksums: %s", self.uri, error)
                    self._takes_checksums = False
                    raise _Again from error
                raise
            return True

        return self._ask(key, put)

    def _ask(self, key: str, ask: Ask[T]) -> T:
        """Return what the server answers; ask again if a body breaks off or writers collide."""
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(FIRST_WAIT_SECONDS, max=5),
            reraise=True,
        )
        try:
            answer: T = attempts(self._ask_once, key, ask)
        except _Again as again:
            raise StoreUnavailable(
                f"store {self.uri}/{key} at {self._where()}: {again.__cause__}"
            ) from again.__cause__
        return answer

    def _ask_once(self, key: str, ask: Ask[T]) -> T:
        from botocore import exceptions

        s3 = self._client
        try:
            return ask(s3)
        except exceptions.ClientError as error:
            if s3_errors.status_of(error) == s3_errors.CONFLICT or self._renew_keys(error, s3):
                raise _Again from error
            raise s3_errors.translate(error, self.bucket, f"{self.uri}/{key}") from error
        except (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.ParamValidationError,
        ) as error:
            raise InvalidPlan(
                f"store {self.uri}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a "
                "profile, and check the bucket's name"
            ) from error
        except exceptions.BotoCoreError as error:  # boto3 has asked several times
            raise StoreUnavailable(f"store {self.uri} at {self._where()}: {error}") from error

    def _renew_keys(self, error: Any, refused: Any) -> bool:
        """Read the keys again; return whether they are others than those of the `refused` client."""
        if s3_errors.code_of(error) not in s3_errors.RENEWABLE:
            return False
        renewed = client(self.endpoint)
        if keys_of(renewed) == keys_of(refused):
            return False
        log.info("store %s: the keys were read again after %s", self.uri, error)
        self._client = renewed
        return True


def _read_chunks(body: Any) -> Iterator[bytes]:
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    try:
        yield from iter(lambda: body.read(CHUNK), b"")
    except (BotoCoreError, HTTPError) as error:  # boto3 repeats requests, but not for their bodies
        raise _Again from error


@contextlib.contextmanager
def _open(data: Data) -> Iterator[Any]:
    if isinstance(data, bytes):
        yield data
    else:
        with data.open("rb") as file:
            yield file
