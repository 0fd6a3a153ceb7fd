"""Read what a run published: from the store, or from a folder that holds a copy of it.

    from mftasks import published
    run = published.open_run(workspace)              # the latest; or open_run(workspace, "nightly-7")
    run = published.open_folder(Path("output/latest"))
    run.bundle().predict([196], [242])

Whatever is read is checked against the manifest's sha256 first.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mftasks.data import catalog
from mftasks.errors import (
    InvalidDataset,
    InvalidPlan,
    MissingRecord,
    UnknownDataset,
    UnknownNetwork,
    did_you_mean,
    quote,
)
from mftasks.published import index, rated
from mftasks.published.manifest import decode_manifest, read_manifest
from mftasks.store import keys
from mftasks.store.blobs import verify

COPIED = Path("output/latest")
"""Where `make run` and `make up` copy what was published last."""

if TYPE_CHECKING:
    from mftasks.bundle import Bundle
    from mftasks.records import Manifest, PublishedFile
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)

TITLES = "titles.json"
NEWEST = 5
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Published:
    """A published run: its manifest, and the files that this lists."""

    def __init__(self, manifest: Manifest, fetch: Callable[[PublishedFile], Path]) -> None:
        self.manifest = manifest
        self._fetch = fetch
        self._files = {file.name: file for file in manifest.files}

    def is_on(self, dataset: str | None) -> bool:
        """Return whether the run is on a data set: its name, its URI, or None for any."""
        return dataset is None or self.manifest.dataset.name == catalog.identify(dataset)

    def path(self, name: str) -> Path:
        """Return the path of a verified local copy of a file, read-only by convention."""
        if name not in self._files:
            raise MissingRecord(f"run {self.manifest.run_id} published no {quote(name)}")
        return self._fetch(self._files[name])

    def bundle(self, network: str | None = None) -> Bundle:
        """Load the bundle of a network, the best one's by default.

        Raises `UnknownNetwork`, with a suggestion, for one that the run did not train.
        """
        from mftasks import bundle

        chosen = network or self.manifest.best
        trained = [score.network for score in self.manifest.scores]
        if chosen not in trained:
            raise UnknownNetwork(
                f"the run has no network {quote(chosen)}{did_you_mean(chosen, trained)}"
            )
        names = (name for name in bundle.FILES if f"{chosen}/bundle/{name}" in self._files)
        return bundle.read({name: self.path(f"{chosen}/bundle/{name}") for name in names})

    def titles(self) -> dict[str, str]:
        """Return the titles of items by id; empty if the data set has none."""
        if TITLES not in self._files:
            return {}
        return msgspec.json.decode(self.path(TITLES).read_bytes(), type=dict[str, str])

    def rated_by(self, user_id: int | str) -> list[int | str]:
        """Return the ids of the items that a user has rated in the data, unsorted.

        They need no recommending. A user who is not in the data has rated none.
        """
        return rated.read_rated(user_id, self.path(rated.RATED))


def open_run(
    workspace: Workspace, run_id: str | None = None, *, dataset: str | None = None
) -> Published:
    """Open a published run of the store: the one named, else the latest on `dataset`.

    Raises `MissingRecord` if there is none, and `InvalidPlan` if the store holds runs on several
    data sets and none is named.
    """
    if run_id is None:
        manifest = read_latest(workspace, dataset)
    else:
        manifest = read_manifest(workspace, _find_run(workspace, run_id))
    return Published(manifest, workspace.fetch)


def open_folder(folder: Path) -> Published:
    """Open a copy of a published run."""
    try:
        data = (folder / keys.MANIFEST).read_bytes()
    except OSError as error:
        raise MissingRecord(f"{folder} holds no manifest.json: it is no published run") from error
    manifest = decode_manifest(data, str(folder / keys.MANIFEST))
    return Published(manifest, lambda file: verify_file(folder / keys.check(file.name), file))


def open_any(
    workspace: Workspace, source: str | None, dataset: str | None = None, *, copies: bool = False
) -> Published:
    """Open the run in a folder or of a store by its id, else the latest.

    With `copies`, the latest that was copied to this checkout comes before those of the store.
    """
    if source and Path(source).is_dir():
        return open_folder(Path(source))
    if copies and not source and COPIED.is_dir():
        latest = open_folder(COPIED)
        if latest.is_on(dataset):
            return latest
    return open_run(workspace, source, dataset=dataset)


def read_latest(workspace: Workspace, dataset: str | None = None) -> Manifest:
    """Return the manifest that was published last on a data set: its name, or its URI.

    Runs that cannot be read, as newer code published them, are skipped, with one warning.
    """
    entries = _choose_entries(workspace, dataset)
    skipped: list[str] = []
    for entry in reversed(entries):
        try:
            manifest = read_manifest(workspace, entry.run_id)
        except (MissingRecord, InvalidDataset) as error:
            skipped.append(str(error))
            continue
        if skipped:
            log.warning("%d newer runs are skipped; the last: %s", len(skipped), skipped[0])
        return manifest
    raise InvalidDataset(f"no run on {entries[-1].dataset} can be read; the last: {skipped[0]}")


def _choose_entries(workspace: Workspace, dataset: str | None) -> list[index.Entry]:
    """Return the entries of one data set, the oldest first."""
    name = None if dataset is None else catalog.identify(dataset)
    entries = index.find(workspace)
    if name is not None and name not in {entry.dataset for entry in entries}:
        entries = index.repair(workspace)
    if not entries:
        raise MissingRecord(f"{workspace.store.uri} holds no published run; start one first")
    names = sorted({entry.dataset for entry in entries})
    if name is None and len(names) > 1:
        raise InvalidPlan(
            f"{workspace.store.uri} holds runs on {len(names)} data sets; "
            f"name one by --dataset: {', '.join(names)}"
        )
    if name is not None and name not in names:
        raise UnknownDataset(
            f"no run on data set {quote(name)} is published{did_you_mean(name, names)}"
        )
    return [entry for entry in entries if name in (None, entry.dataset)]


def _find_run(workspace: Workspace, name: str) -> str:
    """Return the id of the published run that `name` means: its id, or that of Airflow's DAG run."""
    if _RUN_ID.fullmatch(name) and workspace.store.exists(keys.run(name, keys.MANIFEST)):
        return name
    entries = index.find(workspace)[::-1]
    rows = index.read(workspace, entries)
    meant = [row.run_id for row in rows if row.dag_run and row.dag_run.run_id == name]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise InvalidPlan(
            f"{len(meant)} runs are called {quote(name)}; name one: {', '.join(meant)}"
        )
    newest = ", ".join(entry.run_id for entry in entries[:NEWEST]) or "none"
    raise MissingRecord(
        f"{workspace.store.uri} holds no published run {quote(name)}; the newest: {newest}"
    )


def verify_file(path: Path, file: PublishedFile) -> Path:
    """Return `path`; raises `ChecksumMismatch` if its bytes are not those that the manifest lists."""
    try:
        verify(path, file.sha256, str(path))
    except OSError as error:
        raise MissingRecord(f"{path} is not there, though the manifest lists it") from error
    return path
