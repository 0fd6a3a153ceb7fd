"""Fetch the data set of a run, verify it, and put it into the store.

python -m mftasks download --run-id try-1
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mftasks import progress
from mftasks.data import catalog, titles, uris
from mftasks.data.fetching import gathering, sources
from mftasks.errors import InvalidDataset
from mftasks.records import BlobRef, DatasetRef, RunPlan
from mftasks.store import keys
from mftasks.store.blobs import sha256_of
from mftasks.store.workspace import JSON, Workspace

if TYPE_CHECKING:
    from mftasks.progress import OnTick

log = logging.getLogger(__name__)


def download(workspace: Workspace, run_id: str, *, on_tick: OnTick = progress.silent) -> DatasetRef:
    """Put the data set of the plan into the store, verified, and return a reference to it.

    Raises `SourceUnavailable`, `ChecksumMismatch`, `InvalidDataset` for a hostile
    archive, and `InvalidPlan` for a URI without a file, or out of reach.
    """
    key = keys.run(run_id, "download.json")
    if (done := workspace.find_done(key, DatasetRef)) is not None:
        return done
    dataset = workspace.read(keys.run(run_id, "plan.json"), RunPlan).dataset
    if uris.is_uri(dataset):
        ref = _fetch_uri(workspace, dataset, on_tick)
    else:
        ref = _fetch_release(workspace, catalog.find(dataset), on_tick)
    log.info("%s: %s, sha256 %s, from %s", run_id, ref.name, ref.sha256, ref.source)
    return workspace.write(key, ref)


def _fetch_release(workspace: Workspace, dataset: catalog.Dataset, on_tick: OnTick) -> DatasetRef:
    """Fetch a release of MovieLens; one that is pinned is fetched once for all runs."""
    note = keys.data_by_name(dataset.name)
    if dataset.archive_md5 and (known := _find_known(workspace, note)):
        return known
    with workspace.cache.open_folder(".download-") as folder:
        found = sources.list_sources(dataset, workspace.settings.movielens_url)
        served = sources.fetch_first(found, folder, on_tick)
        ratings = _put_ratings(workspace, served.ratings)
        listed = json.dumps(titles.read(served.titles), ensure_ascii=False, indent=0).encode()
        ref = DatasetRef(
            name=dataset.name,
            source=served.source,
            layout=dataset.layout,
            sha256=ratings.sha256,
            ratings=ratings,
            titles=workspace.put_blob(keys.data(sha256_of(listed), "titles.json"), listed, JSON),
        )
    if dataset.archive_md5:
        workspace.store.put(note, msgspec.json.encode(ref), JSON)
    return ref


def _find_known(workspace: Workspace, note: str) -> DatasetRef | None:
    """Return what an earlier run put into the store, if all of it is still there."""
    try:
        ref = workspace.find(note, DatasetRef)
    except InvalidDataset as error:
        log.warning("the data set is fetched again: %s", error)
        return None
    if ref is None or not all(workspace.store.exists(blob.key) for blob in ref.blobs):
        return None
    return ref


def _fetch_uri(workspace: Workspace, uri: str, on_tick: OnTick) -> DatasetRef:
    with workspace.cache.open_folder(".download-") as folder:
        paths = gathering.gather(uri, folder, on_tick, workspace.settings)
        ratings, *more = (_put_ratings(workspace, path) for path in paths)
    together = "".join(blob.sha256 for blob in (ratings, *more))
    return DatasetRef(
        name=catalog.identify(uri),
        source=uris.hide_password(uri),
        sha256=sha256_of(together.encode()) if more else ratings.sha256,
        ratings=ratings,
        more=tuple(more),
    )


def _put_ratings(workspace: Workspace, path: Path) -> BlobRef:
    return workspace.put_blob(keys.data(sha256_of(path), path.name), path)
