"""The champion of each data set: `champions/<data set>.json` points at the run that is live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mftasks.errors import InvalidDataset
from mftasks.store import keys

if TYPE_CHECKING:
    from mftasks.store.workspace import Workspace


class _Champion(msgspec.Struct):
    """What retention needs of a champion: its run, and the one before, to go back to."""

    run_id: str
    previous: str | None = None


def find_champions(workspace: Workspace) -> set[str]:
    """Return the ids of the runs that are live, and of those that a rollback goes back to.

    Raises `InvalidDataset` for a pointer that cannot be read. Other objects are no pointers: those
    in folders, and those whose name begins with a dot.
    """
    found = set()
    for key in workspace.store.list(keys.CHAMPIONS):
        name = key.removeprefix(keys.CHAMPIONS)
        if "/" not in name and name.endswith(".json") and not name.startswith("."):
            champion = _read(workspace, key)
            found |= {champion.run_id, champion.previous or champion.run_id}
    return found


def _read(workspace: Workspace, key: str) -> _Champion:
    try:
        return msgspec.json.decode(workspace.store.get(key), type=_Champion)
    except msgspec.DecodeError as error:
        raise InvalidDataset(
            f"{workspace.store.uri}/{key} is not a champion ({error}); expected an object with the "
            "run_id of a published run"
        ) from error
