"""Clients of S3 servers."""

from __future__ import annotations

import logging
from typing import Any

from mftasks.errors import InvalidPlan


def client(
    endpoint: str | None,
    *,
    patient: bool = True,
    proxies: dict[str, str] | None = None,
    **keys: str,
) -> Any:
    """Return a boto3 client of an S3 server, Amazon's own by default.

    One that is not `patient` gives up at the first attempt, within seconds. `keys` are boto3's, and
    so is `proxies`; by default, boto3 reads them from the environment and its files, for each client
    again. Raises `InvalidPlan` for an endpoint, a profile or a region that cannot be.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    # It reports where it found the keys, once per task.
    logging.getLogger("botocore.credentials").setLevel(logging.WARNING)
    connect_seconds, read_seconds, attempts = (5, 60, 5) if patient else (2, 10, 1)
    try:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            config=Config(
                connect_timeout=connect_seconds,
                read_timeout=read_seconds,
                retries={"mode": "standard", "total_max_attempts": attempts},
                s3={"addressing_style": "path" if endpoint else "auto"},
                # Puts carry our own; some servers refuse boto3's.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                proxies=proxies,
            ),
            **keys,
        )
    except ValueError as error:
        raise InvalidPlan(
            f"MF_S3_ENDPOINT {endpoint!r}: {error}; expected http://host:port or https://host"
        ) from error
    except BotoCoreError as error:
        raise InvalidPlan(
            f"S3 client: {error}; check AWS_PROFILE, AWS_DEFAULT_REGION and boto3's files"
        ) from error


def keys_of(s3: Any) -> Any:
    """Return the keys that a client signs with, or None if it has none."""
    credentials = s3._request_signer._credentials  # noqa: SLF001 (no public way)
    return credentials and credentials.get_frozen_credentials()
