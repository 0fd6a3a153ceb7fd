"""Gather the files that a data set of the user's own consists of: one, or the parts of a folder."""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mftasks.data import uris
from mftasks.data.fetching import transfer
from mftasks.data.fetching.reach import Reach, Refused
from mftasks.errors import (
    ChecksumMismatch,
    InvalidPlan,
    MissingRecord,
    SourceUnavailable,
    StoreUnavailable,
    quote,
)
from mftasks.progress import OnTick, Tick
from mftasks.store import open_store

if TYPE_CHECKING:
    from mftasks.settings import Settings

log = logging.getLogger(__name__)

MOST_PARTS = 10_000
_LONGEST_NAME = 100


class _Part(NamedTuple):
    """One file: its name below the folder that was named, its size, and what copies it."""

    name: str
    n_bytes: int
    copy: Callable[[Path, OnTick], None]


def gather(uri: str, folder: Path, on_tick: OnTick, settings: Settings) -> list[Path]:
    """Copy what a URI names into `folder`, and return the files in the order of their names.

    A URI names a file, a folder, or files by a pattern with `*`. Of a folder, all files in it and
    below are parts, but for empty ones and those that begin with `_` or a dot, as Spark writes them.
    Raises `InvalidPlan` if there is none or it is out of reach, and `SourceUnavailable` if nobody
    answers.
    """
    reach = Reach(settings.data_roots, settings.data_hosts, settings.data_bytes)
    try:
        parts = _find(uri, reach, settings.s3_endpoint)
        reach.check_size(sum(part.n_bytes for part in parts))
        return list(_copy_all(parts, folder, on_tick))
    except (MissingRecord, InvalidPlan, Refused) as error:
        remedy = "; it must be a file, a folder or an object that this worker can read"
        raise InvalidPlan(
            f"data set {quote(uri)}: {error}{'' if ';' in str(error) else remedy}"
        ) from error
    except StoreUnavailable as error:
        raise SourceUnavailable(f"data set {quote(uri)}: {error}") from error


def _find(uri: str, reach: Reach, s3_endpoint: str | None) -> Sequence[_Part]:
    scheme = uris.parse(uri).scheme
    if scheme == "s3":
        return _find_objects(uri, s3_endpoint)
    if scheme == "file":
        return _find_files(uri, reach)
    return [_Part("ratings", 0, lambda path, on_tick: _fetch(uri, path, on_tick, reach))]


def _copy_all(parts: Sequence[_Part], folder: Path, on_tick: OnTick) -> Iterator[Path]:
    """Copy each part into a folder of its own, under a name that keys may have."""
    done, total = 0, sum(part.n_bytes for part in parts)

    def report(tick: Tick) -> None:
        whole = msgspec.structs.replace(tick, done=done + tick.done, total=total)
        on_tick(whole if total else tick)

    for number, part in enumerate(parts):
        path = folder / str(number) / _clean(part.name if len(parts) > 1 else "ratings")
        path.parent.mkdir()
        part.copy(path, report)
        yield path
        done += path.stat().st_size
    on_tick(Tick(work="download", done=done, total=done, unit="bytes"))


def _clean(name: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", name, flags=re.ASCII)[-_LONGEST_NAME:].lstrip(".") or "part"


def _fetch(url: str, path: Path, on_tick: OnTick, reach: Reach) -> None:
    """Fetch a file from the web; one that arrives truncated is fetched once more."""
    try:
        transfer.fetch(url, path, on_tick, reach)
    except ChecksumMismatch as error:
        log.warning("%s; fetching it once more", error)
        transfer.fetch(url, path, on_tick, reach)


def _find_files(uri: str, reach: Reach) -> Sequence[_Part]:
    host, path = uris.parse(uri)[1:]
    origin = Path(path)
    if "*" in path and not origin.exists():
        fixed = Path(path.partition("*")[0].rpartition("/")[0] or "/")
        reach.check_file(fixed)
        found = fixed.glob(_escape(str(PurePosixPath(path).relative_to(fixed))))
        return _choose(path, [_describe_file(one, fixed, reach) for one in found if one.is_file()])
    reach.check_file(origin)
    if host in ("", "localhost") and origin.is_dir():
        found = origin.rglob("*")
        return _choose(path, [_describe_file(one, origin, reach) for one in found if one.is_file()])
    return [_Part("ratings", 0, lambda target, on_tick: transfer.copy(uri, target, on_tick, reach))]


def _describe_file(path: Path, folder: Path, reach: Reach) -> _Part:
    return _Part(
        path.relative_to(folder).as_posix(),
        path.stat().st_size,
        lambda target, on_tick: transfer.copy(path.as_uri(), target, on_tick, reach),
    )


def _find_objects(uri: str, s3_endpoint: str | None) -> Sequence[_Part]:
    bucket, key = uris.parse(uri)[1:]
    fixed = key.partition("*")[0].rstrip("/") if "*" not in key else key.partition("*")[0]
    folder, _, start = fixed.rpartition("/")
    store = open_store(f"s3://{bucket}/{folder}", s3_endpoint=s3_endpoint)

    def describe(name: str, n_bytes: int) -> _Part:
        return _Part(name, n_bytes, lambda target, on_tick: store.download(name, target))

    found = {one.key: one.n_bytes for one in store.list_with_times(start)}
    if "*" in key:
        pattern = key.removeprefix(f"{folder}/" if folder else "")
        names = [name for name in found if fnmatch.fnmatchcase(name, _escape(pattern))]
        return _choose(key, [describe(name, found[name]) for name in names])
    if start in found and not key.endswith("/"):
        return [describe(start, found[start])]
    below = {name: size for name, size in found.items() if name.startswith(f"{start}/")}
    if not below:
        raise MissingRecord(f"{uri} is not there")
    return _choose(key, [describe(name, size) for name, size in below.items()])


def _escape(pattern: str) -> str:
    """Return a pattern in which `?` and `[` are letters like any other."""
    return re.sub(r"([?\[])", r"[\1]", pattern)


def _choose(where: str, found: Sequence[_Part]) -> Sequence[_Part]:
    """Return the parts that hold ratings, in the order of their names."""
    parts = [part for part in found if part.n_bytes and not re.search(r"(^|/)[_.]", part.name)]
    if not parts:
        beside = f"; {len(found)} files are empty or hidden" if found else ""
        raise MissingRecord(f"{quote(where)} has no file with ratings{beside}")
    if len(parts) > MOST_PARTS:
        raise Refused(
            f"{quote(where)} has {len(parts):,} files, and at most {MOST_PARTS:,} are read; name a "
            "folder or a pattern with fewer"
        )
    return sorted(parts, key=lambda part: part.name)
