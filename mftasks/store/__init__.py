"""The object store: the only thing that steps share, whatever host they run on.

`open_store("s3://bucket/prefix")` or `open_store("file:///path")`. Every put is atomic and
checksummed; `put_if_absent` and `put_if_match` are conditional, so that two writers cannot both win.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from mftasks.errors import InvalidPlan, quote
from mftasks.store.local import LocalStore
from mftasks.store.s3 import S3Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mftasks.store.blobs import Data, Stored


class Store(Protocol):
    """Bytes under keys.

    Every method raises `StoreUnavailable` if the store does not answer, and `InvalidPlan` if it
    refuses the keys or the settings. Reading a key that is not there raises `MissingRecord`;
    deleting one does nothing. `data` is bytes or the path of a file, read in a stream. An etag
    changes whenever the bytes of a key do. Lists are sorted by key.
    """

    uri: str

    def get(self, key: str) -> bytes: ...

    def get_with_etag(self, key: str) -> tuple[bytes, str]: ...

    def download(self, key: str, path: Path) -> None: ...

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> list[str]: ...

    def list_with_times(self, prefix: str) -> Sequence[Stored]: ...

    def put(self, key: str, data: Data, content_type: str) -> None: ...

    def put_if_absent(self, key: str, data: Data, content_type: str) -> bool: ...

    def put_if_match(self, key: str, data: Data, content_type: str, etag: str) -> bool: ...

    def delete(self, key: str) -> None: ...

    def delete_many(self, keys: Iterable[str]) -> None: ...


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
