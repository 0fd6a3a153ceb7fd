"""A copy of a published run in a folder: whole and verified, or none."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mftasks.errors import ChecksumMismatch, InvalidDataset, MissingRecord
from mftasks.published.run import open_folder, verify_file
from mftasks.store import keys

if TYPE_CHECKING:
    from mftasks.records import Manifest
    from mftasks.store.workspace import Workspace


def copy(workspace: Workspace, manifest: Manifest, folder: Path) -> Path:
    """Leave a verified copy of a published run in `folder`, whole or not at all.

    A folder that holds this run already is left alone; one that holds anything else is replaced.
    """
    if _holds(folder, manifest):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        arriving = holder / folder.name
        arriving.mkdir()  # readable to whom the umask says, unlike its holder
        for file in manifest.files:
            path = arriving / keys.check(file.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            workspace.store.download(file.key, path)
            verify_file(path, file)
        data = workspace.store.get(keys.run(manifest.run_id, keys.MANIFEST))
        (arriving / keys.MANIFEST).write_bytes(data)
        _put_in_place(arriving, folder)
    finally:
        shutil.rmtree(holder, ignore_errors=True)
    return folder


def _holds(folder: Path, manifest: Manifest) -> bool:
    try:
        there = open_folder(folder)
        return there.manifest == manifest and all(there.path(file.name) for file in manifest.files)
    except (MissingRecord, InvalidDataset, ChecksumMismatch):
        return False


def _put_in_place(arriving: Path, folder: Path) -> None:
    """Rename a complete folder to its name, then remove what was there before."""
    if not folder.exists():
        arriving.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    folder.rename(aside / folder.name)
    arriving.rename(folder)
    shutil.rmtree(aside)
