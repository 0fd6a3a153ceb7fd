"""Read what a run published: from the store, or from a folder that holds a copy of it.

    from mftasks import published
    run = published.open_run(workspace)              # the latest; or open_run(workspace, "nightly-7")
    run = published.open_folder(Path("output/latest"))
    run.bundle().predict([196], [242])

Whatever is read is checked against the manifest's sha256 first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from mftasks.errors import (
    ChecksumMismatch,
    InvalidDataset,
    MissingRecord,
    UnknownNetwork,
    did_you_mean,
)
from mftasks.published import rated
from mftasks.records import BlobRef, Manifest, PublishedFile
from mftasks.store.blobs import sha256_of
from mftasks.store.workspace import Workspace, run_key

if TYPE_CHECKING:
    from mftasks.bundle import Bundle

MANIFEST = "manifest.json"
TITLES = "titles.json"


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
        vocabulary = self.path(f"{self.manifest.best}/bundle/vocabulary.npz")
        return rated.by(user_id, vocabulary, self.path(rated.RATED))


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
    return Published(manifest, lambda file: verify_file(folder / safe_name(file.name), file))


def latest(workspace: Workspace) -> Manifest:
    """Return the manifest that was published last; raises `MissingRecord` where there is none."""
    keys = [key for key in workspace.store.list("runs/") if key.endswith(f"/{MANIFEST}")]
    if not keys:
        raise MissingRecord(f"{workspace.store.uri} holds no published run; start one first")
    manifests = (workspace.read(key, Manifest) for key in keys)
    return max(manifests, key=lambda manifest: manifest.published_at)


def verify_file(path: Path, file: PublishedFile) -> Path:
    """Return `path`; raises `ChecksumMismatch` if its bytes are not those that the manifest lists."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise MissingRecord(f"{path} is not there, though the manifest lists it") from error
    if found != file.sha256:
        raise ChecksumMismatch(f"{path} has sha256 {found}, but the manifest says {file.sha256}")
    return path


def _blob(file: PublishedFile) -> BlobRef:
    return BlobRef(key=file.key, sha256=file.sha256, n_bytes=file.n_bytes)


def safe_name(name: str) -> str:
    """Return a file's name; refuses one that would leave the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidDataset(f"the manifest lists {name!r}, which leaves the run's folder")
    return name
