"""Fetch the data set of a run, verify it, and put it into the store.

python -m mftasks download --run-id try-1
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mftasks import progress
from mftasks.data import catalog, sources, titles, transfer, uris
from mftasks.errors import (
    ChecksumMismatch,
    InvalidDataset,
    InvalidPlan,
    MissingRecord,
    SourceUnavailable,
    StoreUnavailable,
    quote,
)
from mftasks.records import BlobRef, DatasetRef, RunPlan
from mftasks.store import keys, open_store
from mftasks.store.blobs import sha256_of
from mftasks.store.workspace import JSON, Workspace

if TYPE_CHECKING:
    from mftasks.progress import OnTick

log = logging.getLogger(__name__)


def download(workspace: Workspace, run_id: str, *, on_tick: OnTick = progress.silent) -> DatasetRef:
    """Put the data set of the plan into the store, verified, and return a reference to it.

    A release that never changes is fetched once: later runs reuse what the store or the local
    cache holds. Raises `SourceUnavailable`, `ChecksumMismatch`, `InvalidDataset` for a hostile
    archive, and `InvalidPlan` for a URI without a file.
    """
    key = keys.run(run_id, "download.json")
    if (done := workspace.find_done(key, DatasetRef)) is not None:
        return done
    dataset = workspace.read(keys.run(run_id, "plan.json"), RunPlan).dataset
    if catalog.is_uri(dataset):
        ref = _fetch_uri(workspace, dataset, on_tick)
    else:
        ref = _fetch_release(workspace, catalog.find(dataset), on_tick)
    log.info("%s: %s, sha256 %s, from %s", run_id, ref.name, ref.sha256, ref.source)
    return workspace.write(key, ref)


def _fetch_release(workspace: Workspace, dataset: catalog.Dataset, on_tick: OnTick) -> DatasetRef:
    if dataset.immutable:
        known = _find_in_store(workspace, dataset) or _restore_from_cache(workspace, dataset)
        if known is not None:
            return known
    with workspace.cache.open_folder(".download-") as folder:
        base = workspace.settings.movielens_url
        served = sources.fetch_first(sources.list_sources(dataset, base), folder, on_tick)
        ratings = _put_ratings(workspace, served.ratings)
        ref = DatasetRef(
            name=dataset.name,
            source=served.source,
            format=dataset.format,
            sha256=ratings.sha256,
            ratings=ratings,
            titles=_put_titles(workspace, served.titles),
        )
    return _remember(workspace, ref) if dataset.immutable else ref


def _find_in_store(workspace: Workspace, dataset: catalog.Dataset) -> DatasetRef | None:
    """Return what an earlier run put into the store, if all of it is still there."""
    try:
        ref = workspace.find(keys.data_by_name(dataset.name), DatasetRef)
    except InvalidDataset as error:
        log.warning("the data set is fetched again: %s", error)
        return None
    if ref is None or not _fits(ref, dataset):
        return None
    return ref if all(workspace.store.exists(blob.key) for blob in _list_blobs(ref)) else None


def _restore_from_cache(workspace: Workspace, dataset: catalog.Dataset) -> DatasetRef | None:
    """Put the blobs of this worker's cache into a store that lacks them, if it has them all."""
    path = workspace.cache.folder / keys.data_by_name(dataset.name)
    try:
        ref = msgspec.json.decode(path.read_bytes(), type=DatasetRef)
    except (OSError, msgspec.DecodeError):
        return None
    copies = {blob: workspace.cache.path(blob.sha256) for blob in _list_blobs(ref)}
    if not _fits(ref, dataset) or any(not path.is_file() for path in copies.values()):
        return None
    if any(sha256_of(path) != blob.sha256 for blob, path in copies.items()):
        log.warning("copies of %s in the cache were altered; they are removed", dataset.name)
        for path in copies.values():
            path.unlink()
        return None
    for blob, copy in copies.items():
        workspace.put_blob(blob.key, copy)
    return _note(workspace, ref)


def _fits(ref: DatasetRef, dataset: catalog.Dataset) -> bool:
    return ref.format == dataset.format and dataset.ratings_sha256 in (None, ref.sha256)


def _list_blobs(ref: DatasetRef) -> list[BlobRef]:
    return [blob for blob in (ref.ratings, ref.titles) if blob is not None]


def _remember(workspace: Workspace, ref: DatasetRef) -> DatasetRef:
    """Note in the store and in the local cache which blobs hold a release that never changes."""
    for blob in _list_blobs(ref):
        workspace.fetch(blob)
    path = workspace.cache.folder / keys.data_by_name(ref.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(msgspec.json.encode(ref))
    Path(file.name).replace(path)
    return _note(workspace, ref)


def _note(workspace: Workspace, ref: DatasetRef) -> DatasetRef:
    """Note `ref` in the store for later runs, in place of what another worker has noted."""
    workspace.store.put(keys.data_by_name(ref.name), msgspec.json.encode(ref), JSON)
    return ref


def _fetch_uri(workspace: Workspace, uri: str, on_tick: OnTick) -> DatasetRef:
    suffix = Path(uris.parse(uri).path).suffix.lower()
    with workspace.cache.open_folder(".download-") as folder:
        path = folder / f"ratings{suffix}"
        _copy(workspace, uri, path, on_tick)
        ratings = _put_ratings(workspace, path)
    return DatasetRef(
        name=catalog.identify(uri),
        source=uris.hide_password(uri),
        format=catalog.FORMATS[suffix],
        sha256=ratings.sha256,
        ratings=ratings,
    )


def _copy(workspace: Workspace, uri: str, path: Path, on_tick: OnTick) -> None:
    settings, what = workspace.settings, f"data set {quote(uri)}"
    parent, _, name = uri.rpartition("/")
    try:
        if uris.parse(uri).scheme == "s3":
            open_store(parent, s3_endpoint=settings.s3_endpoint).download(name, path)
        else:
            transfer.copy(uri, path, on_tick, settings.data_roots)
    except MissingRecord as error:
        raise InvalidPlan(f"{what}: no such object; expected s3://bucket/key") from error
    except transfer.Refused as error:
        raise InvalidPlan(
            f"{what}: {error}; it must be a file that this worker can read"
        ) from error
    except InvalidPlan as error:
        raise InvalidPlan(f"{what}: {error}") from error
    except StoreUnavailable as error:
        raise SourceUnavailable(f"{what}: {error}") from error


def _put_ratings(workspace: Workspace, path: Path) -> BlobRef:
    try:
        return workspace.put_blob(keys.data(sha256_of(path), path.name), path)
    except ChecksumMismatch as error:
        raise ChecksumMismatch(f"{error}; delete that object, and run again") from error


def _put_titles(workspace: Workspace, path: Path) -> BlobRef:
    data = json.dumps(titles.read(path), ensure_ascii=False, indent=0).encode()
    return workspace.put_blob(keys.data(sha256_of(data), "titles.json"), data, JSON)
