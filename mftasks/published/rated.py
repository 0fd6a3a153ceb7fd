"""What each user has rated, in whatever part of the data: it needs no recommending."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mftasks.data.table import RatingsTable
    from mftasks.records import SplitConfig

RATED = "rated.npz"


def pack_rated(table: RatingsTable, config: SplitConfig) -> bytes:
    """Return as npz which items each user of the data has rated, before `as_of` if there is one.

    Those of the user `user_ids[u]` are `item_ids[items[starts[u]:starts[u + 1]]]`.
    """
    import numpy as np

    from mftasks.data.splitting import before

    past = before(table, config)
    users, items = table.users.codes[past], table.items.codes[past]
    counts = np.bincount(users, minlength=len(table.users.known))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        user_ids=table.users.known,
        item_ids=table.items.known,
        starts=np.concatenate([[0], np.cumsum(counts)]),
        items=items[np.argsort(users, kind="stable")],
    )
    return buffer.getvalue()


def read_rated(user_id: int | str, rated: Path) -> list[int | str]:
    """Return the ids of the items that a user has rated, unsorted; none for an unknown user."""
    import numpy as np

    from mftasks.data.arrays import positions

    with np.load(rated, allow_pickle=False) as arrays:
        (user,) = positions([user_id], arrays["user_ids"])
        if user < 0:
            return []
        start, end = arrays["starts"][user : user + 2]
        items: list[int | str] = arrays["item_ids"][arrays["items"][start:end]].tolist()
    return items
