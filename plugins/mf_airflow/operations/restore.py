"""Restore a deployment from a backup: Airflow's database, and the object store."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from mf_airflow.operations import dump
from mf_airflow.operations.backup import (
    DATABASE,
    STORE,
    Backup,
    leave_out_probes,
    mark_keys,
    sort_by_rank,
    verify_backup,
)
from mftasks.errors import InvalidPlan
from mftasks.store.workspace import BINARY, JSON

if TYPE_CHECKING:
    from mftasks.store import Store

log = logging.getLogger(__name__)

CONTENT_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": JSON,
}


def restore(
    folder: Path, *, database: str, store: Store, fernet_keys: str, overwrite: bool = False
) -> Backup:
    """Verify a backup, and restore it; nothing is changed before all of it has been read.

    With `overwrite`, whatever else database and store hold is removed. Raises `InvalidPlan` if they
    hold something and `overwrite` is not set, and if somebody is connected to the database.
    """
    contents = verify_backup(folder)
    _refuse_used(database, store, overwrite=overwrite)
    if not set(contents.fernet_marks) <= set(mark_keys(fernet_keys)):
        log.warning(
            "the connections and variables of this backup were encrypted by another Fernet key than"
            " AIRFLOW__CORE__FERNET_KEY; add that one to it, after a comma, or they cannot be read"
        )
    dump.restore(database, folder / DATABASE)
    keys = [ref.key for ref in contents.objects]
    for key in sort_by_rank(keys):
        content_type = CONTENT_TYPES.get(Path(key).suffix, BINARY)
        store.put(key, folder / STORE / key, content_type)
    _remove_others(store, set(keys))
    return contents


def _refuse_used(database: str, store: Store, *, overwrite: bool) -> None:
    dump.refuse_others(database)
    if overwrite:
        return
    if not dump.is_empty(database):
        raise InvalidPlan("the database is not empty; --overwrite replaces what it holds")
    if leave_out_probes(store.list("")):
        raise InvalidPlan(f"store {store.uri} is not empty; --overwrite replaces what it holds")


def _remove_others(store: Store, keys: set[str]) -> None:
    """Remove what is not in the backup; what names others is removed before them."""
    others = [key for key in leave_out_probes(store.list("")) if key not in keys]
    for key in reversed(sort_by_rank(others)):
        store.delete(key)
