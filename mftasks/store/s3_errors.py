"""What an S3 server's refusals mean: whether asking again can help, and what a person can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mftasks.errors import ChecksumMismatch, InvalidPlan, MfError, MissingRecord, StoreUnavailable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

CONFLICT = 409
PRECONDITION_FAILED = 412
NOT_FOUND = 404

RENEWABLE = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "InvalidToken"),
        *("InvalidAccessKeyId", "SignatureDoesNotMatch"),
        *("400", "403"),  # to HEAD, which has no room for a name
    }
)
"""What may mean that the keys were replaced: they are read again before anything is given up."""

NOT_UNDERSTOOD = frozenset(
    {"InvalidRequest", "MalformedXML", "MissingContentMD5", "NotImplemented", "501"}
)
"""How servers refuse a header, or a kind of request, that they do not know."""

_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile"
_REGION = "set AWS_DEFAULT_REGION to the bucket's region"
_RIGHTS = (
    "the keys need s3:GetObject, s3:PutObject and s3:DeleteObject on the objects and s3:ListBucket "
    "on the bucket, without which an absent object is forbidden, too"
)
_SERVER = "the server lacks what the store needs; use another S3 server"
_FINAL = {
    "AccessDenied": _RIGHTS,
    "403": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "InvalidAccessKeyId": _KEYS,
    "InvalidToken": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "InvalidBucketName": "check its name",
    "NoSuchBucket": "create it, or check its name",
    "NotImplemented": _SERVER,
    "501": _SERVER,
}
_HINTS = {
    "RequestTimeTooSkewed": "; set this host's clock",
    "ExpiredToken": "; renew the keys",
    "ExpiredTokenException": "; renew the keys",
}
_ALTERED = ("BadDigest", "XAmzContentChecksumMismatch")


def code_of(error: ClientError) -> str:
    """Return the server's name for the error, or the bare status, such as `403`, if it gave none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the HTTP status."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def refuses_condition(error: ClientError) -> bool:
    """Return whether the condition of a put does not hold; If-Match on an absent key is 404."""
    return status_of(error) == PRECONDITION_FAILED or code_of(error) == "NoSuchKey"


def translate(error: ClientError, bucket: str, where: str) -> MfError:
    """Return our error for the server's; `where` is the store and the key."""
    code = code_of(error)
    if code in _FINAL:
        return InvalidPlan(f"store {where}: bucket {bucket!r}: {error}; {_FINAL[code]}")
    if status_of(error) == NOT_FOUND:
        return MissingRecord(f"{where} is not there")
    if code in _ALTERED:
        return ChecksumMismatch(f"{where}: altered on the way to the store: {error}")
    return StoreUnavailable(f"store {where}: {error}{_HINTS.get(code, '')}")
