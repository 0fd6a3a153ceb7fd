"""What a rating is expected to be if the training part lacks its user or its item."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Positions = NDArray[np.int32]


def mean_ratings(
    positions: Positions, ratings: Floats, n: int, overall: float
) -> tuple[Floats, Positions]:
    """Return the mean rating of each of `n` users or items, and how many ratings it has.

    `positions` has the user or the item of each rating; one without ratings gets the `overall` mean.
    """
    import numpy as np

    counts = np.bincount(positions, minlength=n)
    sums = np.bincount(positions, weights=ratings, minlength=n)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
    return means.astype(np.float32), counts.astype(np.int32)


def expected_ratings(
    users: Positions, items: Positions, user_means: Floats, item_means: Floats, overall: float
) -> Floats:
    """Return the item's mean for an unknown user (-1), the user's for an unknown item, else `overall`."""
    import numpy as np

    expected = np.full(users.shape, overall, np.float32)
    for other, means, side in ((users, item_means, items), (items, user_means, users)):
        known = (side >= 0) & (other < 0)
        expected[known] = means[side[known]]
    return expected
