"""Copy a deployment's state into one folder: Airflow's database and the object store.

database.dump    the database, in PostgreSQL's custom format
store/<key>      every object; the folder is a store itself: MF_STORE=file:///…/store
backup.json      each of these with its sha256; written last: where it is, the backup is whole

Secrets are not in it, the Fernet key above all: what that encrypted in the database needs it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mf_airflow.operations import dump
from mftasks.errors import ChecksumMismatch, InvalidDataset, InvalidPlan, MissingRecord
from mftasks.records import BlobRef, Manifest, Record
from mftasks.store import keys
from mftasks.store.blobs import refer_to, verify

if TYPE_CHECKING:
    from mftasks.store import Store

SCHEMA_VERSION = 1
DATABASE = "database.dump"
STORE = "store"
MANIFEST = "backup.json"


class Backup(Record, frozen=True, kw_only=True):
    """List what a backup holds; keys are relative to its folder.

    `fernet_marks` tell the Fernet keys of then from others, and nothing about them.
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

    Airflow may go on meanwhile. The database is first, so that each run that it knows is in the
    store. Raises `InvalidPlan` for a folder that is not empty, and `ChecksumMismatch` where the
    store holds other bytes than were published.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InvalidPlan(f"{folder} is not empty; name a new folder for each backup")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    dump.dump(database, folder / DATABASE)
    objects = tuple(_copied(store, folder / STORE))
    _check_published(folder / STORE, objects)
    made = Backup(
        schema_version=SCHEMA_VERSION,
        made_at=datetime.now(UTC),
        airflow_version=version("apache-airflow"),
        store=store.uri,
        fernet_marks=fernet_marks(fernet_keys),
        database=refer_to(DATABASE, folder / DATABASE),
        objects=objects,
    )
    os.sync()
    arriving = folder / f".{MANIFEST}"
    arriving.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1))
    arriving.rename(folder / MANIFEST)
    return made


def verified(folder: Path) -> Backup:
    """Read every file of a backup, and return its list.

    Raises `MissingRecord` for half a backup, and `ChecksumMismatch` for one that was altered.
    """
    try:
        made = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Backup)
    except FileNotFoundError as error:
        raise MissingRecord(
            f"{folder} holds no whole backup: {MANIFEST}, which is written last, is not there"
        ) from error
    except msgspec.DecodeError as error:
        raise InvalidDataset(f"{folder / MANIFEST} is no list of a backup: {error}") from error
    _check(folder, made.database)
    for ref in made.objects:
        _check(folder / STORE, ref)
    return made


def fernet_marks(keys: str) -> tuple[str, ...]:
    """Return a mark for each of Airflow's Fernet keys, by which it can be told from others."""
    return tuple(hashlib.sha256(key.encode()).hexdigest()[:16] for key in keys.split(",") if key)


def visible(found: Sequence[str]) -> list[str]:
    """Return the keys of a store without those that show whether it works."""
    return [key for key in found if not key.rpartition("/")[2].startswith(".")]


def by_rank(found: Sequence[str]) -> list[str]:
    """Return keys so that whatever names others comes after them: manifests, then champions."""
    return sorted(
        found, key=lambda key: (key.startswith(keys.CHAMPIONS), key.endswith(f"/{keys.MANIFEST}"))
    )


def _copied(store: Store, folder: Path) -> Iterator[BlobRef]:
    """Copy every object, and give a reference to each.

    Champions are read first, so that the run of each is among those that are listed afterwards.
    Of what is removed meanwhile, a manifest goes before its run's files: so it is looked for last.
    """
    folder.mkdir()
    for key in store.list(keys.CHAMPIONS):
        yield from _copy(store, key, folder)
    for key in by_rank(visible(store.list(""))):
        if not key.startswith(keys.CHAMPIONS):
            yield from _copy(store, key, folder)


def _copy(store: Store, key: str, folder: Path) -> Iterator[BlobRef]:
    path = folder / keys.check(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        store.download(key, path)
    except MissingRecord:
        path.unlink(missing_ok=True)  # a checkpoint that was followed by the next one
        return
    yield refer_to(key, path)


def _check_published(folder: Path, objects: Sequence[BlobRef]) -> None:
    """See that what was published is what its manifest says."""
    copied = {ref.key: ref.sha256 for ref in objects}
    for key in fnmatch.filter(copied, keys.run("*", keys.MANIFEST)):
        manifest = msgspec.json.decode((folder / key).read_bytes(), type=Manifest)
        for file in manifest.files:
            if copied.get(file.key) != file.sha256:
                raise ChecksumMismatch(
                    f"{file.key} has sha256 {copied.get(file.key)}, but {key} says {file.sha256};"
                    " restore that run from an earlier backup, or remove it"
                )


def _check(folder: Path, ref: BlobRef) -> None:
    path = folder / keys.check(ref.key)
    if not path.is_file():
        raise MissingRecord(f"{path} is not there, though the backup's list names it")
    verify(path, ref.sha256, str(path))
