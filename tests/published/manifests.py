from __future__ import annotations

import msgspec

from mftasks.published import index
from mftasks.records import DatasetRef, Manifest
from mftasks.store import keys
from mftasks.store.workspace import Workspace


def put_manifest(finished: Workspace, manifest: Manifest, **changes: object) -> Manifest:
    """Publish another run, with the files of the first."""
    changed = msgspec.structs.replace(manifest, **changes)
    finished.write(keys.run(changed.run_id, "manifest.json"), changed)
    index.put(finished, changed)
    return changed


def on(manifest: Manifest, dataset: str) -> DatasetRef:
    return msgspec.structs.replace(manifest.dataset, name=dataset)
