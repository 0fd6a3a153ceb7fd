from __future__ import annotations

import math

import numpy as np
import pytest

from mftasks.scoring.errors import Pooled, pooled


def test_chunks_add_up_to_the_whole() -> None:
    random = np.random.default_rng(1)
    predicted, ratings = random.normal(3, 1, (2, 1001)).astype(np.float32)
    whole = pooled(predicted, ratings)
    merged = Pooled()
    for start in range(0, 1001, 100):
        merged &= pooled(predicted[start : start + 100], ratings[start : start + 100])
    assert merged == pytest.approx(whole)
    errors = predicted.astype(float) - ratings
    assert whole.rmse == pytest.approx(float(np.sqrt(np.mean(errors**2))))
    assert whole.mae == pytest.approx(float(np.abs(errors).mean()))


def test_ten_million_errors_are_summed_in_double_precision() -> None:
    n = 10_000_000
    found = pooled(np.full(n, 0.1, np.float32), np.zeros(n, np.float32))
    assert found.rmse == pytest.approx(float(np.float32(0.1)), rel=1e-9)


def test_no_ratings_have_no_error() -> None:
    assert math.isnan(Pooled().rmse)
    assert math.isnan(Pooled().mae)
