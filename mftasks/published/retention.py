"""Remove what nobody needs any more: old runs, and the data and splits that no other run uses.

python -m mftasks prune --days 90 --dry-run

Whatever its age, a run stays that is a champion, that is the newest published one of its data set,
or of which anything is younger, as its training may go on. What says that something is whole goes
first, a manifest before its run's files: so nobody sees half of anything, and where a prune is
interrupted, the next one removes what it left.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from mftasks.errors import InvalidDataset, MissingRecord
from mftasks.store.blobs import Stored

if TYPE_CHECKING:
    from mftasks.store import Store

log = logging.getLogger(__name__)

DATA = ("datasets/", "splits/")
BY_NAME = "datasets/by-name"
FIRST = ("/manifest.json", "/split.json")  # they say that a run, or a split, is whole
REFERRING = ("download.json", "split.json")
UNDECIDED = timedelta(days=1)  # more than a run needs from its plan to its split

Runs = Mapping[str, Sequence[Stored]]
T = TypeVar("T")


class Removal(msgspec.Struct, frozen=True):
    """Hold objects that go together, in the order of `keys`; `modified` is the youngest's time."""

    kind: Literal["run", "checkpoints", "data set", "split"]
    folder: str
    keys: tuple[str, ...]
    n_bytes: int
    modified: datetime


class _Named(msgspec.Struct):
    name: str


class _Manifest(msgspec.Struct):
    """Read of a manifest what matters here, whatever version it has."""

    published_at: datetime
    dataset: _Named


class _Champion(msgspec.Struct):
    run_id: str


def prune(store: Store, before: datetime, *, dry_run: bool = False) -> list[Removal]:
    """Remove what is not needed and has not changed since `before`; return what that was.

    A dry run changes nothing, and returns what would go. Raises `InvalidDataset` for a manifest or
    a champion that cannot be read, as it is not known then which run must stay.
    """
    runs = _by_folder(store.list_with_times("runs/"))
    kept = _champions(store) | _newest(store, runs)
    removed = [
        removal
        for removal in (*_old_runs(runs, kept, before), *_left_checkpoints(runs, kept, before))
        if dry_run or _remove(store, removal, before)
    ]
    gone = {removal.folder for removal in removed if removal.kind == "run"}
    left = {folder: objects for folder, objects in runs.items() if folder not in gone}
    for removal in _unused_data(store, left, before):
        if dry_run or _remove(store, removal, before):
            removed.append(removal)
    return removed


def _by_folder(objects: Iterable[Stored]) -> dict[str, list[Stored]]:
    """Group sorted objects by their folder, such as `runs/nightly-7`."""
    groups = itertools.groupby(objects, key=lambda stored: _folder(stored.key))
    return {folder: list(group) for folder, group in groups}


def _folder(key: str) -> str:
    return "/".join(key.split("/")[:2])


def _champions(store: Store) -> set[str]:
    keys = store.list("champions/")
    return {f"runs/{_read(store, key, _Champion).run_id}" for key in keys}


def _newest(store: Store, runs: Runs) -> set[str]:
    """Return the newest published run of each data set."""
    newest: dict[str, tuple[datetime, str]] = {}
    for folder, objects in runs.items():
        if _is_published(folder, objects):
            manifest = _read(store, f"{folder}/manifest.json", _Manifest)
            known = newest.get(manifest.dataset.name)
            mine = (manifest.published_at, folder)
            newest[manifest.dataset.name] = max(mine, known or mine)
    return {folder for _, folder in newest.values()}


def _is_published(folder: str, objects: Sequence[Stored]) -> bool:
    return any(stored.key == f"{folder}/manifest.json" for stored in objects)


def _read(store: Store, key: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(store.get(key), type=kind)
    except msgspec.DecodeError as error:
        raise InvalidDataset(
            f"{store.uri}/{key} cannot be read ({error}), so nothing is removed; mend it first"
        ) from error


def _old_runs(runs: Runs, kept: set[str], before: datetime) -> Iterator[Removal]:
    for folder, objects in runs.items():
        if not _is_old(objects, before):
            continue
        if folder in kept:
            log.info("%s stays: a champion, or the newest of its data set", folder)
        else:
            yield _removal("run", folder, objects)


def _left_checkpoints(runs: Runs, kept: set[str], before: datetime) -> Iterator[Removal]:
    """Give the checkpoints that a publishing which was interrupted left in runs that stay."""
    for folder in sorted(kept & runs.keys()):
        left = [stored for stored in runs[folder] if "/checkpoints/" in stored.key]
        if left and _is_published(folder, runs[folder]) and _is_old(left, before):
            yield _removal("checkpoints", folder, left)


def _unused_data(store: Store, runs: Runs, before: datetime) -> Iterator[Removal]:
    """Give the data and splits to which no run refers; nothing while a run may be about to."""
    if undecided := [folder for folder in runs if _is_undecided(folder, runs[folder])]:
        log.info("data and splits stay this time: %s has not chosen its own", undecided[0])
        return
    used = {reference for folder in runs for reference in _references(store, runs[folder])}
    folders = _by_folder(itertools.chain(*(store.list_with_times(prefix) for prefix in DATA)))
    pointers = folders.pop(BY_NAME, [])
    for folder, objects in folders.items():
        if folder not in used and _is_old(objects, before):
            kind = "data set" if folder.startswith("datasets/") else "split"
            yield _removal(kind, folder, [*_pointing(store, pointers, folder), *objects])


def _is_undecided(folder: str, objects: Sequence[Stored]) -> bool:
    decided = any(stored.key == f"{folder}/split.json" for stored in objects)
    return not decided and not _is_old(objects, datetime.now(UTC) - UNDECIDED)


def _references(store: Store, objects: Sequence[Stored]) -> Iterator[str]:
    """Give the folders of data and splits that a run's records name."""
    for stored in objects:
        if stored.key in {f"{_folder(stored.key)}/{name}" for name in REFERRING}:
            yield from _named_folders(store, stored.key)


def _pointing(store: Store, pointers: Iterable[Stored], folder: str) -> list[Stored]:
    """Return the objects that tell later runs to take their data from `folder`."""
    return [stored for stored in pointers if folder in _named_folders(store, stored.key)]


def _named_folders(store: Store, key: str) -> set[str]:
    with contextlib.suppress(MissingRecord):
        strings = _strings(_read(store, key, object))
        return {_folder(one) for one in strings if one.startswith(DATA)}
    return set()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _is_old(objects: Iterable[Stored], before: datetime) -> bool:
    return all(stored.modified < before for stored in objects)


def _removal(kind: Any, folder: str, objects: Sequence[Stored]) -> Removal:
    ordered = sorted(objects, key=lambda stored: not _says_whole(stored.key))
    return Removal(
        kind=kind,
        folder=folder,
        keys=tuple(stored.key for stored in ordered),
        n_bytes=sum(stored.n_bytes for stored in objects),
        modified=max(stored.modified for stored in objects),
    )


def _remove(store: Store, removal: Removal, before: datetime) -> bool:
    """Remove objects, those that say that the others are whole first; tell whether they went.

    A run that was begun again, or became a champion, since it was looked at stays.
    """
    if removal.kind == "run" and not (
        _is_old(store.list_with_times(f"{removal.folder}/"), before)
        and removal.folder not in _champions(store)
    ):
        log.info("%s stays: it has changed just now", removal.folder)
        return False
    for key in itertools.takewhile(_says_whole, removal.keys):
        store.delete(key)
    store.delete_many(removal.keys)
    return True


def _says_whole(key: str) -> bool:
    return key.endswith(FIRST) or _folder(key) == BY_NAME
