"""The object store: the only thing that steps share, whatever host they run on.

`open_store("s3://bucket/prefix")` or `open_store("file:///path")` give bytes under keys. Every put is
atomic and checksummed; `put_if_absent` and `put_if_match` are conditional, so that two writers cannot
both win. An etag changes whenever the bytes of a key do.

`data` is bytes or the path of a file, read in a stream. Lists are sorted by key. Every method raises
`StoreUnavailable` if the store does not answer, and `InvalidPlan` if it refuses the keys or the
settings. Reading a key that is not there raises `MissingRecord`; deleting one does nothing.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from mftasks.errors import InvalidPlan, quote
from mftasks.store.local import LocalStore
from mftasks.store.s3 import S3Store

Store = LocalStore | S3Store


def open_store(uri: str, *, s3_endpoint: str | None = None) -> Store:
    """Open the store at `uri`, in which `#` and `?` are letters like any other.

    Raises `InvalidPlan` for a scheme other than s3 and file.
    """
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    if scheme == "file" and path and host in ("", "localhost"):
        return LocalStore(Path(unquote(slash + path)))
    if scheme == "s3" and host:
        return S3Store(host, path.strip("/"), s3_endpoint)
    raise InvalidPlan(f"store {quote(uri)} is neither s3://bucket/prefix nor file:///path")
