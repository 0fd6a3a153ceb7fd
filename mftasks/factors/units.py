"""In what a network counts ratings, so that it learns the same whatever scale they were given on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from mftasks.data.arrays import Floats

STEPS = 1024
"""Of a spread: values are rounded to these, lest the rounding of a scale steers a training."""


class Unit(NamedTuple):
    """Where a network's zero lies on the scale of ratings, and how much its one is."""

    mean: float = 0.0
    spread: float = 1.0

    def scale(self, ratings: Floats) -> Floats:
        """Return ratings as a network counts them."""
        if self == AS_RATED:
            return ratings
        counted = (ratings.astype(np.float64) - self.mean) / self.spread
        rounded: Floats = (np.rint(counted * STEPS) / STEPS).astype(np.float32)
        return rounded

    def unscale(self, counted: Floats) -> Floats:
        """Return as ratings what a network has counted."""
        if self == AS_RATED:
            return counted
        ratings: Floats = (self.mean + self.spread * counted.astype(np.float64)).astype(np.float32)
        return ratings


AS_RATED = Unit()


def measure(ratings: Floats) -> Unit:
    """Return the unit in which ratings have mean 0, spread 1, and their longer tail below.

    The spread is negative if the longer tail is above: a scale that is turned around gives the same.
    """
    rest = ratings.astype(np.float64)
    mean = float(rest.mean())
    rest -= mean
    spread = float(np.sqrt(rest @ rest / len(rest)))
    if spread <= np.finfo(np.float32).eps * abs(mean):
        return Unit(mean, 1.0)
    return Unit(mean, -spread if float((rest * rest) @ rest) > 0 else spread)
