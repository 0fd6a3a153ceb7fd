"""Make a bucket of an S3 server, and see that it takes and gives objects."""

from __future__ import annotations

import contextlib
from typing import Any

PROBE = ".ready"


def make(client: Any, name: str) -> None:
    """Make a bucket if there is none; raises boto3's errors if it cannot be used yet.

    After a start, SeaweedFS takes new objects before it finds those that it had: an older one shows when it does.
    """
    known = client.exceptions
    with contextlib.suppress(known.BucketAlreadyOwnedByYou, known.BucketAlreadyExists):
        client.create_bucket(Bucket=name)
    try:
        _get(client, name)
    except known.NoSuchKey:
        client.put_object(Bucket=name, Key=PROBE, Body=b"ready")
        _get(client, name)


def _get(client: Any, name: str) -> None:
    client.get_object(Bucket=name, Key=PROBE)["Body"].read()
