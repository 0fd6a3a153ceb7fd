"""The error of predictions, pooled over all ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mftasks.data.arrays import Floats


def pool_rmse(predicted: Floats, ratings: Floats) -> float:
    """Return the root of the mean squared error, summed in double precision."""
    errors = np.subtract(ratings, predicted, dtype=np.float64)
    return float(np.sqrt(errors @ errors / len(errors)))
