from __future__ import annotations

import numpy as np
import pytest

from mftasks.factors import units

SKEWED = np.array([1, 3, 4, 4, 5, 5, 5], np.float32)


def test_ratings_have_mean_0_and_spread_1_in_their_unit_and_come_back() -> None:
    unit = units.measure(SKEWED)
    scaled = unit.scale(SKEWED)
    assert scaled.mean() == pytest.approx(0, abs=1e-3)
    assert scaled.std() == pytest.approx(1, abs=1e-3)
    assert unit.unscale(scaled) == pytest.approx(SKEWED, abs=1e-3)


@pytest.mark.parametrize("a", [20, 0.01, -1, -3.3, 1e6])
@pytest.mark.parametrize("b", [0, 7, -1000])
def test_a_scale_that_is_stretched_moved_or_turned_around_gives_the_same(
    a: float, b: float
) -> None:
    if abs(b) > 100 * abs(a):
        b *= abs(a)  # what single precision can tell apart
    other = (a * SKEWED.astype(np.float64) + b).astype(np.float32)
    scaled = units.measure(SKEWED).scale(SKEWED)
    np.testing.assert_array_equal(units.measure(other).scale(other), scaled)


def test_ratings_as_they_are_rated_stay_so() -> None:
    assert units.AS_RATED.scale(SKEWED) is SKEWED
    assert units.AS_RATED.unscale(SKEWED) is SKEWED


def test_ratings_that_are_all_equal_have_a_unit() -> None:
    same = np.full(5, 0.1, np.float32)
    unit = units.measure(same)
    assert unit.spread == 1
    assert unit.unscale(unit.scale(same)) == pytest.approx(same)
