"""The manifest of a run: reading it, whatever version of the code wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mftasks.errors import InvalidDataset
from mftasks.records import BlobRef, Manifest, PublishedFile
from mftasks.store import keys

if TYPE_CHECKING:
    from mftasks.store.workspace import Workspace

SCHEMA_VERSION = 1
"""Raise it only if a field means something else than before; fields may be added without."""


def list_file(name: str, blob: BlobRef, content_type: str, role: str) -> PublishedFile:
    """Return the entry of a manifest for a blob."""
    return PublishedFile(
        name=name, content_type=content_type, role=role, **msgspec.structs.asdict(blob)
    )


class _Version(msgspec.Struct):
    schema_version: int = 1


def read_manifest(workspace: Workspace, run_id: str) -> Manifest:
    """Return the manifest of a run.

    Raises `MissingRecord` if the run is not published, and `InvalidDataset` if newer code wrote
    the manifest, or something else.
    """
    key = keys.run(run_id, keys.MANIFEST)
    return decode_manifest(workspace.store.get(key), f"{workspace.store.uri}/{key}")


def decode_manifest(data: bytes, name: str) -> Manifest:
    """Return the manifest in `data`; `name` is what an error message calls it."""
    try:
        version = msgspec.json.decode(data, type=_Version).schema_version
        if version <= SCHEMA_VERSION:
            return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidDataset(f"{name} is not a manifest: {error}") from error
    raise InvalidDataset(
        f"{name} has schema version {version}, and this code reads up to {SCHEMA_VERSION}; "
        "use the version of the code that published it, or a later one"
    )
