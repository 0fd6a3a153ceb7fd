"""Copy a deployment's state into one folder: Airflow's database and the object store.

database.dump    the database, in PostgreSQL's custom format
store/<key>      every object; the folder is a store itself: MF_STORE=file:///…/store
backup.json      each of these with its sha256; it is written last, so a backup that has one is complete

Secrets are not in it, above all not the Fernet key, which opens what is encrypted in the database.
"""

from __future__ import annotations

import fnmatch
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mf_airflow.operations import dump
from mftasks.errors import ChecksumMismatch, InvalidDataset, InvalidPlan, MissingRecord
from mftasks.published.manifest import decode_manifest
from mftasks.records import BlobRef, Record
from mftasks.store import keys
from mftasks.store.blobs import refer_to, verify

if TYPE_CHECKING:
    from mftasks.store import Store

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
DATABASE = "database.dump"
STORE = "store"
MANIFEST = "backup.json"


class Backup(Record, frozen=True, kw_only=True):
    """What a backup holds, with keys that are relative to its folder.

    `fernet_marks` identify the Fernet keys of its time, and reveal nothing about them.
    """

    schema_version: int
    made_at: datetime
    airflow_version: str
    store: str
    fernet_marks: tuple[str, ...]
    database: BlobRef
    objects: tuple[BlobRef, ...]

    @property
    def n_bytes(self) -> int:
        return self.database.n_bytes + sum(ref.n_bytes for ref in self.objects)


def backup(folder: Path, *, database: str, store: Store, fernet_keys: str) -> Backup:
    """Copy the database at the URL `database` and the store into a new folder.

    Airflow may be running. The database comes first, so that each run that it knows is in the
    store. Raises `InvalidPlan` for a folder that is not empty, and `ChecksumMismatch` if the store
    holds other bytes than were published.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InvalidPlan(f"{folder} is not empty; name a new folder for each backup")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    dump.dump(database, folder / DATABASE)
    objects = tuple(_copy_all(store, folder / STORE))
    _check_published(folder / STORE, objects)
    contents = Backup(
        schema_version=SCHEMA_VERSION,
        made_at=datetime.now(UTC),
        airflow_version=version("apache-airflow"),
        store=store.uri,
        fernet_marks=mark_keys(fernet_keys),
        database=refer_to(DATABASE, folder / DATABASE),
        objects=objects,
    )
    os.sync()
    arriving = folder / f".{MANIFEST}"
    arriving.write_bytes(msgspec.json.format(msgspec.json.encode(contents), indent=1))
    arriving.rename(folder / MANIFEST)
    return contents


def verify_backup(folder: Path) -> Backup:
    """Read every file of a backup, and return what it holds.

    Raises `MissingRecord` for an incomplete backup, and `ChecksumMismatch` for one that was altered.
    """
    try:
        contents = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Backup)
    except FileNotFoundError as error:
        raise MissingRecord(
            f"{folder} holds no complete backup: {MANIFEST}, which is written last, is not there"
        ) from error
    except msgspec.DecodeError as error:
        raise InvalidDataset(f"{folder / MANIFEST} is not the list of a backup: {error}") from error
    _check(folder, contents.database)
    for ref in contents.objects:
        _check(folder / STORE, ref)
    return contents


def mark_keys(fernet_keys: str) -> tuple[str, ...]:
    """Return a mark for each of Airflow's Fernet keys, by which it is known again."""
    given = filter(None, fernet_keys.split(","))
    return tuple(hashlib.sha256(key.encode()).hexdigest()[:16] for key in given)


def leave_out_probes(listed: Sequence[str]) -> list[str]:
    """Return the keys of a store without those that were put to see whether it works."""
    return [key for key in listed if not key.rpartition("/")[2].startswith(".")]


def sort_by_rank(listed: Sequence[str]) -> list[str]:
    """Return keys so that whatever names others comes after them: manifests, then champions."""
    return sorted(
        listed, key=lambda key: (key.startswith(keys.CHAMPIONS), key.endswith(f"/{keys.MANIFEST}"))
    )


def _copy_all(store: Store, folder: Path) -> Iterator[BlobRef]:
    """Copy every object, and give a reference to each.

    Champions are copied first, so that their runs are among what is listed afterwards. Manifests are
    copied last: whoever removes a run meanwhile removes its manifest first.
    """
    folder.mkdir()
    for key in store.list(keys.CHAMPIONS):
        yield from _copy(store, key, folder)
    for key in sort_by_rank(leave_out_probes(store.list(""))):
        if not key.startswith(keys.CHAMPIONS):
            yield from _copy(store, key, folder)


def _copy(store: Store, key: str, folder: Path) -> Iterator[BlobRef]:
    path = folder / keys.check(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        store.download(key, path)
    except MissingRecord:
        path.unlink(missing_ok=True)  # a checkpoint that was replaced by the next one
        return
    yield refer_to(key, path)


def _check_published(folder: Path, objects: Sequence[BlobRef]) -> None:
    """Check what was published against its manifest; a manifest that cannot be read is only copied."""
    copied = {ref.key: ref.sha256 for ref in objects}
    for key in fnmatch.filter(copied, keys.run("*", keys.MANIFEST)):
        try:
            manifest = decode_manifest((folder / key).read_bytes(), key)
        except InvalidDataset as error:
            log.warning("the files of a run are copied without a check: %s", error)
            continue
        for file in manifest.files:
            if copied.get(file.key) != file.sha256:
                raise ChecksumMismatch(
                    f"{file.key} has sha256 {copied.get(file.key)}, but {key} says {file.sha256};"
                    " restore that run from an earlier backup, or remove it"
                )


def _check(folder: Path, ref: BlobRef) -> None:
    path = folder / keys.check(ref.key)
    if not path.is_file():
        raise MissingRecord(f"{path} is not there, though {MANIFEST} lists it")
    verify(path, ref.sha256, str(path))
