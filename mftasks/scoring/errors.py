"""The error of predictions, pooled over all ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Floats


def subtract(predicted: Floats, ratings: Floats) -> NDArray[np.float64]:
    """Return rating − predicted of each rating, in double precision."""
    errors: NDArray[np.float64] = np.subtract(ratings, predicted, dtype=np.float64)
    return errors


def pool_rmse(predicted: Floats, ratings: Floats) -> float:
    """Return the root of the mean squared error, summed in double precision."""
    errors = subtract(predicted, ratings)
    return float(np.sqrt(errors @ errors / len(errors)))
