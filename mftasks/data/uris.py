"""What a URI names: a file of a host, an object of a bucket, or a file on the web.

In `file:` and `s3:` a `#` or `?` is a letter like any other, as names of files and objects hold them.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

_LOGIN = re.compile(r"^(\w+://)(?:[^/?#]*@|[^/?#@:]*:(?!\d+(?:[/?]|$)).*@)")


class Uri(NamedTuple):
    """The parts of a `file:` or `s3:` URI; `path` is decoded, without query and fragment."""

    scheme: str
    host: str
    path: str


def parse(uri: str) -> Uri:
    """Split a `file:` or `s3:` URI."""
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    host, scheme = host.rpartition("@")[2], scheme.lower()
    return Uri(scheme, host, unquote(f"{slash}{path}") if scheme == "file" else path)


def hide_password(uri: str) -> str:
    """Return `uri` without user and password, as it may be shown, logged and stored.

    A password is hidden even if it holds an unquoted `/`, `?` or `#`.
    """
    return _LOGIN.sub(r"\1", uri)
