"""Which items each user has rated: what needs no recommending."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mftasks.data.arrays import Part

RATED = "rated.npz"


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


def by(user_id: int | str, vocabulary: Path, rated: Path) -> list[int | str]:
    """Return the ids of the items that a user has rated, unsorted; none for an unknown user."""
    import numpy as np

    from mftasks.data.arrays import positions

    with np.load(vocabulary) as ids:
        (user,) = positions([user_id], ids["user_ids"])
        item_ids = ids["item_ids"]
    if user < 0:
        return []
    with np.load(rated) as arrays:
        start, end = arrays["starts"][user : user + 2]
        items: list[int | str] = item_ids[arrays["items"][start:end]].tolist()
    return items
