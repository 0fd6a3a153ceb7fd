"""Read what a run published: from the store, or from a folder that holds a copy of it.

    from mftasks import published
    run = published.open_run(workspace)              # the latest; or open_run(workspace, "nightly-7")
    run = published.open_folder(Path("output/latest"))
    run.bundle().predict([196], [242])

Whatever is read is checked against the manifest's sha256 first.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from mftasks.blobs import sha256_of
from mftasks.errors import (
    ChecksumMismatch,
    InvalidDataset,
    MissingRecord,
    UnknownNetwork,
    did_you_mean,
)
from mftasks.records import BlobRef, Manifest, PublishedFile
from mftasks.workspace import Workspace, run_key

if TYPE_CHECKING:
    from mftasks.bundle import Bundle
    from mftasks.ratings import Part

MANIFEST = "manifest.json"
TITLES = "titles.json"
RATED = "rated.npz"


class Published:
    """Hold a manifest, and read the files that it lists."""

    def __init__(self, manifest: Manifest, fetch: Callable[[PublishedFile], Path]) -> None:
        self.manifest = manifest
        self._fetch = fetch
        self._files = {file.name: file for file in manifest.files}

    def path(self, name: str) -> Path:
        """Return the path of a verified local copy of a file, read-only by convention."""
        if name not in self._files:
            raise MissingRecord(f"run {self.manifest.run_id} published no {name!r}")
        return self._fetch(self._files[name])

    def bundle(self, network: str | None = None) -> Bundle:
        """Load the bundle of a network, the best one's by default.

        Raises `UnknownNetwork`, with a suggestion, for one that the run did not train.
        """
        from mftasks import bundle

        chosen = network or self.manifest.best
        trained = [one.network for one in self.manifest.evaluations]
        if chosen not in trained:
            raise UnknownNetwork(
                f"the run has no network {chosen!r}{did_you_mean(chosen, trained)}"
            )
        return bundle.read({name: self.path(f"{chosen}/bundle/{name}") for name in bundle.FILES})

    def titles(self) -> dict[str, str]:
        """Return the titles of items by id, nothing where the data set has none."""
        if TITLES not in self._files:
            return {}
        return msgspec.json.decode(self.path(TITLES).read_bytes(), type=dict[str, str])

    def rated_by(self, user_id: int | str) -> list[int | str]:
        """Return the ids of the items that a user has rated in the train part, unsorted.

        They need no recommending. An unknown user has rated none.
        """
        import numpy as np

        from mftasks.ratings import positions

        with np.load(self.path(f"{self.manifest.best}/bundle/vocabulary.npz")) as vocabulary:
            (user,) = positions([user_id], vocabulary["user_ids"])
            item_ids = vocabulary["item_ids"]
        if user < 0:
            return []
        with np.load(self.path(RATED)) as rated:
            start, end = rated["starts"][user : user + 2]
            items: list[int | str] = item_ids[rated["items"][start:end]].tolist()
        return items


def to_rated(train: Part) -> bytes:
    """Return as npz which items each user has rated, as positions.

    Those of user u are `items[starts[u]:starts[u + 1]]`.
    """
    import numpy as np

    by_user = np.argsort(train.users, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(train.users))])
    buffer = io.BytesIO()
    np.savez(buffer, starts=starts, items=train.items[by_user])
    return buffer.getvalue()


def open_run(workspace: Workspace, run_id: str | None = None) -> Published:
    """Open a published run of the store, the latest by default.

    Raises `MissingRecord` where there is none.
    """
    if run_id is None:
        manifest = latest(workspace)
    else:
        manifest = workspace.read(run_key(run_id, MANIFEST), Manifest)
    return Published(manifest, lambda file: workspace.fetch(_blob(file)))


def open_folder(folder: Path) -> Published:
    """Open a copy of a published run."""
    try:
        data = (folder / MANIFEST).read_bytes()
        manifest = msgspec.json.decode(data, type=Manifest)
    except FileNotFoundError as error:
        raise MissingRecord(f"{folder} holds no manifest.json: it is no published run") from error
    except msgspec.DecodeError as error:
        raise InvalidDataset(f"{folder / MANIFEST} is not a manifest: {error}") from error
    return Published(manifest, lambda file: _verified(folder / _safe(file.name), file))


def latest(workspace: Workspace) -> Manifest:
    """Return the manifest that was published last; raises `MissingRecord` where there is none."""
    keys = [key for key in workspace.store.list("runs/") if key.endswith(f"/{MANIFEST}")]
    if not keys:
        raise MissingRecord(f"{workspace.store.uri} holds no published run; start one first")
    manifests = (workspace.read(key, Manifest) for key in keys)
    return max(manifests, key=lambda manifest: manifest.published_at)


def copy(workspace: Workspace, manifest: Manifest, folder: Path) -> Path:
    """Leave a verified copy of a published run in `folder`, whole or not at all.

    A folder that holds this run already is left alone; one that holds anything else is replaced.
    """
    if _holds(folder, manifest):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    arriving = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        for file in manifest.files:
            path = arriving / _safe(file.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            workspace.store.download(file.key, path)
            _verified(path, file)
        (arriving / MANIFEST).write_bytes(workspace.store.get(run_key(manifest.run_id, MANIFEST)))
        arriving.chmod(0o755)
        _put_in_place(arriving, folder)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)
    return folder


def _holds(folder: Path, manifest: Manifest) -> bool:
    try:
        there = open_folder(folder)
        return there.manifest == manifest and all(there.path(file.name) for file in manifest.files)
    except (MissingRecord, InvalidDataset, ChecksumMismatch):
        return False


def _put_in_place(arriving: Path, folder: Path) -> None:
    """Rename a complete folder to its name; what was there goes once the new one stands."""
    if not folder.exists():
        arriving.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    folder.rename(aside / folder.name)
    arriving.rename(folder)
    shutil.rmtree(aside)


def _verified(path: Path, file: PublishedFile) -> Path:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise MissingRecord(f"{path} is not there, though the manifest lists it") from error
    if found != file.sha256:
        raise ChecksumMismatch(f"{path} has sha256 {found}, but the manifest says {file.sha256}")
    return path


def _blob(file: PublishedFile) -> BlobRef:
    return BlobRef(key=file.key, sha256=file.sha256, n_bytes=file.n_bytes)


def _safe(name: str) -> str:
    """Return a file's name; refuses one that would leave the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidDataset(f"the manifest lists {name!r}, which leaves the run's folder")
    return name
