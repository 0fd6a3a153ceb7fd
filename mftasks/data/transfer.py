"""Copy what a URL names into a file: over HTTP, or from this host.

A source that lacks the file raises another error than one that does not answer.
"""

from __future__ import annotations

import functools
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

import httpx

from mftasks.data.uris import hide_password, parse
from mftasks.errors import ChecksumMismatch, SourceUnavailable, quote
from mftasks.progress import OnTick, Tick
from mftasks.version import VERSION

CHUNK = 1 << 20

_TIMEOUT = httpx.Timeout(30, connect=5)
_TRANSIENT = (408, 425, 429)


class Refused(SourceUnavailable):
    """A source that answers and does not have the file."""


def fetch(url: str, path: Path, on_tick: OnTick) -> None:
    """Write what is at `url` (http, https or file) to `path`, and report progress in bytes.

    Raises `Refused` if the file is not there, `SourceUnavailable` if nobody answers, and
    `ChecksumMismatch` if fewer bytes arrive than were announced.
    """
    if url.startswith("file:"):
        copy(url, path, on_tick)
        return
    try:
        with _open_client(url) as client, client.stream("GET", hide_password(url)) as response:
            _refuse_status(response)
            announced = int(response.headers.get("Content-Length", 0))
            _write(_read_all(response), path, announced, on_tick)
    except httpx.InvalidURL as error:
        # httpx repeats what follows the first colon, which may be a part of a password.
        raise Refused(
            f"{hide_password(url)} is no address; in a user or a password, write # as %23, / as %2F "
            "and ? as %3F"
        ) from error
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise Refused(f"{error}; http, https or file was expected") from error
    except httpx.HTTPError as error:
        raise SourceUnavailable(str(error) or type(error).__name__) from error


def _open_client(url: str) -> httpx.Client:
    """Return a client that logs in as `url` says; httpx would log a password in the URL."""
    given = httpx.URL(url)
    return httpx.Client(
        auth=(given.username, given.password) if given.userinfo else None,
        timeout=_TIMEOUT,
        follow_redirects=True,
        headers={"Accept-Encoding": "identity", "User-Agent": f"movielens-mf/{VERSION}"},
    )


def _refuse_status(response: httpx.Response) -> None:
    status = response.status_code
    if status >= 500 or status in _TRANSIENT:
        raise SourceUnavailable(f"HTTP {status} {response.reason_phrase}")
    if status != 200:
        raise Refused(f"HTTP {status} {response.reason_phrase}")


def _read_all(response: httpx.Response) -> Iterable[bytes]:
    try:
        yield from response.iter_raw(CHUNK)
    except httpx.RemoteProtocolError as error:
        raise ChecksumMismatch(f"{response.url} arrived truncated: {error}") from error


def copy(uri: str, path: Path, on_tick: OnTick, roots: str = "") -> None:
    """Write the file at `uri` to `path`; a device, a pipe or a folder is refused.

    `roots` are the folders, colons between them, that the file must lie in, links followed; any if
    empty. Raises `Refused`.
    """
    host, origin = parse(uri)[1:]
    if host not in ("", "localhost"):
        raise Refused(f"file of the host {host!r}; only this worker's own files can be read")
    _refuse_outside(Path(origin), roots)
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        file = os.fdopen(os.open(origin, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except (OSError, ValueError) as error:
        raise Refused(f"{getattr(error, 'strerror', None) or error}: {quote(origin)}") from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{quote(origin)} is no regular file; a file with ratings was expected")
        _write(iter(functools.partial(file.read, CHUNK), b""), path, status.st_size, on_tick)


def _refuse_outside(origin: Path, roots: str) -> None:
    allowed = [Path(root).resolve() for root in roots.split(":") if root]
    if allowed and not any(origin.resolve().is_relative_to(root) for root in allowed):
        raise Refused(
            f"{quote(str(origin))} lies outside the folders of MF_DATA_ROOTS, {roots}; "
            "put it into one of them"
        )


def _write(chunks: Iterable[bytes], path: Path, total: int, on_tick: OnTick) -> None:
    done, reported = 0, time.monotonic()
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            done += len(chunk)
            if time.monotonic() - reported > 0.25:
                on_tick(Tick(work="download", done=done, total=total, unit="bytes"))
                reported = time.monotonic()
    on_tick(Tick(work="download", done=done, total=total or done, unit="bytes"))
