"""Which data and splits of the store are in use, as folders: `datasets/<sha256>`, `splits/<…>`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mftasks.errors import InvalidDataset, MissingRecord
from mftasks.published import index
from mftasks.records import BlobRef, DatasetRef, SplitRef
from mftasks.store import keys

if TYPE_CHECKING:
    from mftasks.published.index import Entry
    from mftasks.store.blobs import Stored
    from mftasks.store.workspace import Workspace

UNDECIDED = timedelta(days=1)  # more than a run needs from its plan to its split


def find_used(
    workspace: Workspace, runs: Mapping[str, Iterable[Stored]], published: Iterable[Entry]
) -> set[str]:
    """Return the folders that runs use: those of published runs cost a row of the index each.

    Raises `InvalidDataset` if that is not known of one: a record cannot be read, or the run has
    only begun.
    """
    used = set()
    known = set()
    for row in index.read(workspace, published):
        used |= {*find_data(row.dataset), keys.split(row.split_fingerprint)}
        known.add(keys.run(row.run_id))
    for folder in runs.keys() - known:
        used |= _find_unpublished(workspace, folder, runs[folder])
    return used


def find_data(dataset: DatasetRef) -> set[str]:
    """Return the folders that hold a data set."""
    return _list_folders(blob for blob in (dataset.ratings, dataset.titles) if blob is not None)


def _find_unpublished(workspace: Workspace, folder: str, objects: Iterable[Stored]) -> set[str]:
    used: set[str] = set()
    with contextlib.suppress(MissingRecord):
        used |= find_data(workspace.read(f"{folder}/download.json", DatasetRef))
        used |= _list_folders(workspace.read(f"{folder}/split.json", SplitRef).parts.values())
        return used
    if any(stored.modified > datetime.now(UTC) - UNDECIDED for stored in objects):
        raise InvalidDataset(f"{folder} has not chosen its data and split yet")
    return used


def _list_folders(blobs: Iterable[BlobRef]) -> set[str]:
    return {keys.folder(blob.key) for blob in blobs}
