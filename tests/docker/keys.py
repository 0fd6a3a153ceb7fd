"""The S3 identities that `make env` draws, each with a file of its own."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from mf_airflow.embedded.seaweedfs import S3Server

BUCKET = "movielens"


def identity(file: Path, endpoint: str) -> S3Server:
    """Return how the identity whose keys are in `file` reaches the store."""
    keys = configparser.ConfigParser()
    keys.read(file)
    return S3Server(
        endpoint=endpoint,
        access_key=keys["default"]["aws_access_key_id"],
        secret_key=keys["default"]["aws_secret_access_key"],
        bucket=BUCKET,
    )


def is_refused(what: Any, **arguments: Any) -> bool:
    """Return whether the store denies a call of a boto3 client."""
    try:
        what(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] == "AccessDenied"
    return False
