"""What a URI names: files of a host, objects of a bucket, or a file on the web; and what identifies it.

In `file:` and `s3:` a `#` or `?` is a letter like any other, as names of files and objects hold them; `*`
stands for any letters of a name.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from mftasks.errors import UnknownDataset, quote

SCHEMES = ("file", "s3", "http", "https")
MAX_STEM = 40

_LOGIN = re.compile(r"^(\w+://)(?:[^/?#]*@|[^/?#@:]*:(?!\d+(?:[/?]|$)).*@)")
_PATH = re.compile(
    r"(.*/.*|[~.].*|.*\.(csv|tsv|txt|dat|data|inter|jsonl?|parquet|pq|gz|zst|zip))$",
    re.I | re.DOTALL,
)
_SECRETS = re.compile(r"(?i)(^|[-_])(sig(nature)?|token|credential|secret|password|pwd|(api)?key)$")


class Uri(NamedTuple):
    """The parts of a URI; `path` is decoded in `file:`, and holds the query in `http:`."""

    scheme: str
    host: str
    path: str


def parse(uri: str) -> Uri:
    """Split a URI."""
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    host, scheme = host.rpartition("@")[2], scheme.lower()
    return Uri(scheme, host, unquote(f"{slash}{path}") if scheme == "file" else path)


def is_uri(dataset: str) -> bool:
    """Return whether `dataset` is a URI that ratings of the user's own may be read from."""
    return "://" in dataset and parse(dataset).scheme in SCHEMES


def is_path(dataset: str) -> bool:
    """Return whether `dataset` is a path without a scheme, rather than a name."""
    return "://" not in dataset and bool(_PATH.match(dataset))


def complete(dataset: str, base: Path | None = None) -> str:
    """Return the URI of a path without scheme, and anything else as it is.

    Relative paths are those of `base`; without it, as on a worker, they are refused by
    `UnknownDataset`.
    """
    is_file_here = base is not None and "." in dataset and (base / dataset).is_file()
    if not is_path(dataset) and not ("://" not in dataset and is_file_here):
        return dataset
    path = Path(os.path.expanduser(dataset.removeprefix("file:")))  # noqa: PTH111 (it may be no path)
    if not path.is_absolute():
        if base is None:
            raise UnknownDataset(
                f"data set {quote(dataset)} is a relative path, and a worker does not know of which "
                "folder: write the whole path, such as /data/ratings.csv"
            )
        path = base / path
    return Path(os.path.normpath(path)).as_uri()


def check(uri: str) -> None:
    """Raise `UnknownDataset` for a URI that holds a secret, or that no worker could read."""
    found, bare = parse(uri), hide_password(uri)
    shown = quote(bare)
    if bare != uri:
        raise UnknownDataset(
            f"data set {shown} was given with a user or a password, which would be stored with the "
            "run; the keys of S3 belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the login of a "
            "web server in ~/.netrc"
        )
    if found.scheme == "file" and found.host not in ("", "localhost"):
        raise UnknownDataset(
            f"data set {shown} lies on the host {quote(found.host)}, but only the worker's own files can "
            "be read: file:///path, with three slashes, or s3://bucket/key"
        )
    if found.scheme == "file" and found.path.strip("/.") == "":
        raise UnknownDataset(
            f"data set {shown} names no file; expected file:///path, with three slashes"
        )
    if found.scheme != "file" and not found.host:
        raise UnknownDataset(f"data set {shown} names no host; expected {found.scheme}://name/…")
    if found.scheme == "s3" and not found.path.strip("/"):
        raise UnknownDataset(
            f"data set {shown} is a whole bucket; name an object, or a folder of parts"
        )
    if secret := _find_secret(found):
        raise UnknownDataset(
            f"data set {quote(bare.partition('?')[0])} was given with {secret!r} in its query, "
            "which would be stored with the run; use s3://bucket/key, or a login in ~/.netrc"
        )


def _find_secret(uri: Uri) -> str:
    """Return which part of a query gives access, as in an address that was signed for somebody."""
    if not uri.scheme.startswith("http"):
        return ""
    query = uri.path.partition("?")[2]
    names = (name for name, _ in parse_qsl(query, keep_blank_values=True))
    return next(filter(_SECRETS.search, names), "")


def identify(uri: str) -> str:
    """Return the identity of what a URI names: `ratings-3f1c2a9b`.

    It is the stem of the file or the name of the folder, and 8 hex digits of the URI's sha256, so that
    two files of one name are two data sets, and one file is one however its URI is spelt.
    """
    scheme, host, path = parse(uri)
    name = unquote(path).partition("?")[0] if scheme.startswith("http") else path
    name = name.rstrip("/").rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    slug = re.sub(r"[^a-z0-9]+", "-", stem.lower())[:MAX_STEM].strip("-")
    host = "" if host == "localhost" else host
    spelt = f"{scheme}://{host}/{path.removeprefix('/').rstrip('/')}"
    return f"{slug or 'ratings'}-{hashlib.sha256(spelt.encode()).hexdigest()[:8]}"


def hide_password(uri: str) -> str:
    """Return `uri` without user and password, as it may be shown, logged and stored.

    A password is hidden even if it holds an unquoted `/`, `?` or `#`.
    """
    return _LOGIN.sub(r"\1", uri)
