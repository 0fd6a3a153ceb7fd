"""Errors of predictions, kept as (sum, count) so that chunks and workers add up to the pooled figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Pooled(NamedTuple):
    """Hold the sums of squared and absolute errors of `n` ratings; two of them merge with `&`."""

    squared: float = 0.0
    absolute: float = 0.0
    n: int = 0

    def __and__(self, other: Pooled) -> Pooled:
        return Pooled(
            self.squared + other.squared, self.absolute + other.absolute, self.n + other.n
        )

    @property
    def rmse(self) -> float:
        """Return the root of the mean squared error; NaN of no ratings."""
        return math.sqrt(self.squared / self.n) if self.n else math.nan

    @property
    def mae(self) -> float:
        """Return the mean absolute error; NaN of no ratings."""
        return self.absolute / self.n if self.n else math.nan


def pooled(predicted: NDArray[np.float32], ratings: NDArray[np.float32]) -> Pooled:
    """Return the pooled errors of `predicted`, in double precision."""
    errors = np.subtract(ratings, predicted, dtype=np.float64)
    return Pooled(float(errors @ errors), float(np.abs(errors).sum()), len(errors))
