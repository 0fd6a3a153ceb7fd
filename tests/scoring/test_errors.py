from __future__ import annotations

import numpy as np
import pytest

from mftasks.scoring.errors import pool_rmse


def test_errors_are_pooled_over_all_ratings() -> None:
    predicted, ratings = np.array([3, 4, 1], np.float32), np.array([3, 2, 2], np.float32)
    assert pool_rmse(predicted, ratings) == pytest.approx((5 / 3) ** 0.5)


def test_ten_million_errors_are_summed_in_double_precision() -> None:
    n = 10_000_000
    found = pool_rmse(np.full(n, 0.1, np.float32), np.zeros(n, np.float32))
    assert found == pytest.approx(float(np.float32(0.1)), rel=1e-9)
