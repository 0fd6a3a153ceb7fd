"""Copy what a URL names into a file: over HTTP, or from this host.

A source that lacks the file raises another error than one that does not answer.
"""

from __future__ import annotations

import functools
import netrc
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

import httpx

from mftasks.data.fetching.reach import Reach, Refused, goes_by_proxy
from mftasks.data.uris import hide_password, parse
from mftasks.errors import ChecksumMismatch, SourceUnavailable, quote
from mftasks.progress import OnTick, Tick
from mftasks.version import VERSION

CHUNK = 1 << 20
ANYTHING = Reach()

_TIMEOUT = httpx.Timeout(30, connect=5)
_TRANSIENT = (408, 425, 429)


def fetch(url: str, path: Path, on_tick: OnTick, reach: Reach = ANYTHING) -> None:
    """Write what is at `url` (http, https or file) to `path`, and report progress in bytes.

    Raises `Refused` if the file is not there, or out of reach; `SourceUnavailable` if nobody answers,
    and `ChecksumMismatch` if fewer bytes arrive than were announced.
    """
    if url.startswith("file:"):
        copy(url, path, on_tick, reach)
        return
    try:
        with (
            _open_client(url, reach) as client,
            client.stream("GET", hide_password(url)) as response,
        ):
            _check_peer(response, reach)
            _refuse_status(response)
            announced = int(response.headers.get("Content-Length", 0))
            _write(_read_all(response), path, announced, on_tick, reach)
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


def _open_client(url: str, reach: Reach) -> httpx.Client:
    """Return a client that logs in as `url` or ~/.netrc says; httpx would log a password in the URL.

    Every host is checked before it is asked, those of redirects, too.
    """
    given = httpx.URL(url)
    return httpx.Client(
        auth=(given.username, given.password) if given.userinfo else _read_netrc(),
        timeout=_TIMEOUT,
        follow_redirects=True,
        headers={"Accept-Encoding": "identity", "User-Agent": f"movielens-mf/{VERSION}"},
        event_hooks={"request": [lambda request: reach.check_url(str(request.url))]},
    )


def _read_netrc() -> httpx.NetRCAuth | None:
    try:
        return httpx.NetRCAuth(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return None


def _check_peer(response: httpx.Response, reach: Reach) -> None:
    """Refuse an answer of another address than the name had when it was checked."""
    url = response.url
    stream = response.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream else None
    if peer and not goes_by_proxy(url.host, url.scheme):
        reach.check_address(url.host, peer[0])


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


def copy(uri: str, path: Path, on_tick: OnTick, reach: Reach = ANYTHING) -> None:
    """Write the file at `uri` to `path`; a device, a pipe or a folder is refused.

    Raises `Refused`, for a file that is out of reach, too.
    """
    host, origin = parse(uri)[1:]
    if host not in ("", "localhost"):
        raise Refused(f"file of the host {host!r}; only this worker's own files can be read")
    reach.check_file(Path(origin))
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        file = os.fdopen(os.open(origin, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except (OSError, ValueError) as error:
        raise Refused(f"{getattr(error, 'strerror', None) or error}: {quote(origin)}") from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{quote(origin)} is no regular file; a file with ratings was expected")
        chunks = iter(functools.partial(file.read, CHUNK), b"")
        _write(chunks, path, status.st_size, on_tick, reach)


def _write(chunks: Iterable[bytes], path: Path, total: int, on_tick: OnTick, reach: Reach) -> None:
    reach.check_size(total)
    done, reported = 0, time.monotonic()
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            done += len(chunk)
            reach.check_size(done)
            if time.monotonic() - reported > 0.25:
                on_tick(Tick(work="download", done=done, total=total, unit="bytes"))
                reported = time.monotonic()
    on_tick(Tick(work="download", done=done, total=total or done, unit="bytes"))
