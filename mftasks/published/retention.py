"""Remove what is no longer needed: old runs, and the data and splits that no other run uses.

Command line: `python -m mftasks prune --days 90 --dry-run`

A run stays, whatever its age, if it is a champion or the newest published run of its data set, or if
neither its row nor its manifest can be read. The marker that means "this is whole" is deleted before
the files that it vouches for. So nobody sees half a run, and the next prune finishes what an
interrupted one left.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from mftasks.errors import InvalidDataset, MissingRecord
from mftasks.published import champion, index
from mftasks.records import DatasetRef, SplitRef
from mftasks.store import keys
from mftasks.store.blobs import Stored

if TYPE_CHECKING:
    from mftasks.published.index import Entry
    from mftasks.store import Store
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)

MARKERS = (f"/{keys.MANIFEST}", "/split.json")
CHANGES = ("put", "put_if_absent", "put_if_match", "delete", "delete_many")
LONGEST_WAIT = timedelta(days=8)  # a task of an unpublished run may wait a week in its queue
UNDECIDED = timedelta(days=1)  # more than a run needs from its plan to its split

Folders = Mapping[str, Sequence[Stored]]


class Removal(NamedTuple):
    """Objects to remove together; `pointers` are keys elsewhere that name the folder."""

    folder: str
    objects: Sequence[Stored]
    pointers: Sequence[str] = ()

    def __str__(self) -> str:
        size = f"{len(self.objects)} objects, {self.n_bytes / 1e6:.1f} MB"
        return f"{self.folder}: {size}, last changed {self.modified:%Y-%m-%d}"

    @property
    def n_bytes(self) -> int:
        return sum(stored.n_bytes for stored in self.objects)

    @property
    def modified(self) -> datetime:
        return max(stored.modified for stored in self.objects)


def prune(workspace: Workspace, before: datetime, *, dry_run: bool = False) -> list[Removal]:
    """Remove what is not needed and has not changed since `before`; return what that was.

    A dry run changes nothing, and returns what would go. Raises `InvalidDataset` if a champion
    cannot be read: it is not known then which run must stay.
    """
    if dry_run:
        workspace = copy.copy(workspace)
        workspace.store = cast("Store", _Unchanged(workspace.store))
    entries = {keys.run(entry.run_id): entry for entry in index.repair(workspace)}
    runs = _list_folders(workspace, keys.RUNS)
    shared = _list_folders(workspace, keys.DATASETS) | _list_folders(workspace, keys.SPLITS)
    if shared and not runs:
        log.warning("%s lists data but no run: nothing is removed", workspace.store.uri)
        return []
    removed = [
        removal
        for removal in _find_old_runs(workspace, runs, entries, before)
        if _remove_run(workspace, removal)
    ]
    for removal in removed:
        del runs[removal.folder]
    for removal in _find_unused(workspace, shared, runs):
        if _is_old(removal.objects, before):
            removed.append(removal)
            _delete(workspace, removal)
    return removed


class _Unchanged:
    """A store that answers what it is asked, and of which no object is put or deleted."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: None) if name in CHANGES else getattr(self._store, name)


def _list_folders(workspace: Workspace, prefix: str) -> dict[str, list[Stored]]:
    """Return the objects of each folder, such as `runs/nightly-7`."""
    listed = workspace.store.list_with_times(prefix)
    groups = itertools.groupby(listed, key=lambda stored: keys.folder(stored.key))
    return {folder: list(group) for folder, group in groups}


def _find_old_runs(
    workspace: Workspace, runs: Folders, entries: Mapping[str, Entry], before: datetime
) -> Iterator[Removal]:
    newest = {entry.dataset: folder for folder, entry in entries.items()}
    keep = {*newest.values(), *_list_champions(workspace)}
    for folder, objects in runs.items():
        published = any(stored.key == f"{folder}/{keys.MANIFEST}" for stored in objects)
        limit = before if published else min(before, datetime.now(UTC) - LONGEST_WAIT)
        if folder in keep or (published and folder not in entries) or not _is_old(objects, limit):
            log.debug("%s stays", folder)
        else:
            yield Removal(folder, objects, [entries[folder].key] if folder in entries else [])


def _list_champions(workspace: Workspace) -> set[str]:
    return {keys.run(run_id) for run_id in champion.find_champions(workspace)}


def _is_old(objects: Iterable[Stored], before: datetime) -> bool:
    return all(stored.modified < before for stored in objects)


def _remove_run(workspace: Workspace, removal: Removal) -> bool:
    """Remove a run, unless it has changed or become a champion since it was listed."""
    listed = workspace.store.list_with_times(f"{removal.folder}/")
    if [*listed] != [*removal.objects] or removal.folder in _list_champions(workspace):
        log.info("%s stays: it has just changed", removal.folder)
        return False
    _delete(workspace, removal)
    return True


def _delete(workspace: Workspace, removal: Removal) -> None:
    removed = [stored.key for stored in removal.objects]
    for key in (*(key for key in removed if key.endswith(MARKERS)), *removal.pointers):
        workspace.store.delete(key)
    workspace.store.delete_many(removed)


def _find_unused(workspace: Workspace, shared: Folders, runs: Folders) -> Iterator[Removal]:
    """Give the data and splits that no run uses; none if that is not known of a run."""
    try:
        with ThreadPoolExecutor(index.READ_AT_ONCE) as pool:
            used = pool.map(lambda run: _find_used(workspace, run, runs[run]), runs)
            unused = shared.keys() - {keys.BY_NAME}.union(*used)
        named = {
            stored.key: _name_folders(workspace.read(stored.key, DatasetRef))
            for stored in shared.get(keys.BY_NAME, [])
        }
    except InvalidDataset as error:
        log.warning("data and splits stay this time: %s", error)
        return
    for folder in sorted(unused):
        pointers = [key for key, folders in named.items() if folder in folders]
        yield Removal(folder, shared[folder], pointers)


def _find_used(workspace: Workspace, run: str, objects: Sequence[Stored]) -> set[str]:
    """Return the folders of the data and the split of a run.

    Raises `InvalidDataset` if a record cannot be read, or if the run has only begun.
    """
    used: set[str] = set()
    with contextlib.suppress(MissingRecord):
        used |= _name_folders(workspace.read(f"{run}/download.json", DatasetRef))
        used.add(keys.split(workspace.read(f"{run}/split.json", SplitRef).fingerprint))
        return used
    if not _is_old(objects, datetime.now(UTC) - UNDECIDED):
        raise InvalidDataset(f"{run} has not chosen its data and split yet")
    return used


def _name_folders(dataset: DatasetRef) -> set[str]:
    return {keys.folder(blob.key) for blob in dataset.blobs}
