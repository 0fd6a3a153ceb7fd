"""The index of published runs: one small row per run, so that lists of runs cost few reads.

    index/<data set>/<time of publication>.<run id>.json

A key alone holds the data set of a run and when it was published, so that finding the newest run of
each data set costs one listing. Rows are copied from manifests: `repair` writes the rows that are lost
and removes those whose run is gone, and a row that cannot be read is written again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mftasks.data import catalog
from mftasks.errors import InvalidDataset, InvalidPlan, MissingRecord, StoreUnavailable
from mftasks.published.manifest import read_manifest
from mftasks.records import RunRow
from mftasks.store import keys
from mftasks.store.workspace import JSON

if TYPE_CHECKING:
    from mftasks.records import Manifest
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)

READ_AT_ONCE = 8  # as many connections as boto3 keeps, with a few to spare


class Entry(NamedTuple):
    """The key of a row, in parts; entries are ordered by `published`, a time in UTC."""

    published: str
    run_id: str
    dataset: str

    @property
    def key(self) -> str:
        return keys.index_row(self.dataset, self.published, self.run_id)


def put(workspace: Workspace, manifest: Manifest) -> None:
    """Write the row of a published run."""
    data = msgspec.json.encode(_make_row(manifest))
    workspace.store.put(_make_entry(manifest).key, data, JSON)


def find(workspace: Workspace, dataset: str | None = None) -> list[Entry]:
    """Return an entry for each published run, the oldest first: of all, or on a name or URI.

    If there is none, the index may be lost: it is repaired first.
    """
    name = catalog.identify(dataset) if dataset else None
    found = _list(workspace, f"{keys.INDEX}{name}/" if name else keys.INDEX)
    return found or [one for one in repair(workspace) if name in (None, one.dataset)]


def read(workspace: Workspace, entries: Iterable[Entry]) -> Iterator[RunRow]:
    """Give the row of each entry, in order, without those whose row and manifest cannot be read."""
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        yield from filter(None, pool.map(lambda entry: _read_row(workspace, entry), entries))


def repair(workspace: Workspace) -> list[Entry]:
    """Make the rows agree with the manifests; return the entries that are right afterwards.

    Rows are listed first: a run that is published meanwhile has its manifest before its row.
    """
    entries = _list(workspace, keys.INDEX)
    published = find_published(workspace.store.list(keys.RUNS))
    newest = {entry.run_id: entry for entry in entries if entry.run_id in published}
    workspace.store.delete_many(entry.key for entry in entries if entry not in newest.values())
    lost = sorted(published - newest.keys())
    again = filter(None, (_put_again(workspace, run_id) for run_id in lost))
    return sorted([*newest.values(), *map(_make_entry, again)])


def find_published(listed: Iterable[str]) -> set[str]:
    """Return the ids of the runs whose manifest is among the keys `listed`."""
    parts = (key.split("/") for key in listed if key.endswith(f"/{keys.MANIFEST}"))
    return {part[1] for part in parts if len(part) == 3}


def _list(workspace: Workspace, prefix: str) -> list[Entry]:
    return sorted(entry for entry in map(_parse, workspace.store.list(prefix)) if entry)


def _make_entry(manifest: Manifest) -> Entry:
    published = f"{manifest.published_at:%Y%m%dT%H%M%S%fZ}"
    return Entry(published, manifest.run_id, manifest.dataset.name)


def _parse(key: str) -> Entry | None:
    dataset, _, name = key.removeprefix(keys.INDEX).partition("/")
    published, _, rest = name.partition(".")
    run_id, ending = rest.rpartition(".")[::2]
    return Entry(published, run_id, dataset) if run_id and ending == "json" else None


def _read_row(workspace: Workspace, entry: Entry) -> RunRow | None:
    with contextlib.suppress(msgspec.DecodeError, MissingRecord):
        return msgspec.json.decode(workspace.store.get(entry.key), type=RunRow)
    manifest = _put_again(workspace, entry.run_id)
    return _make_row(manifest) if manifest else None


def _put_again(workspace: Workspace, run_id: str) -> Manifest | None:
    """Write the row of a run from its manifest, and return that, if it can be read."""
    try:
        manifest = read_manifest(workspace, run_id)
        with contextlib.suppress(
            StoreUnavailable, InvalidPlan
        ):  # a reader may lack the right to write
            put(workspace, manifest)
        return manifest
    except (MissingRecord, InvalidDataset) as error:
        log.warning("index: run %s is left out: %s", run_id, error)
        return None


def _make_row(manifest: Manifest) -> RunRow:
    return msgspec.convert(manifest, RunRow, from_attributes=True)
