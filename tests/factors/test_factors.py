from __future__ import annotations

import numpy as np
import pytest

from mftasks import factors
from mftasks.factors.biases import Biases
from mftasks.factors.units import Unit


def draw(n_users: int = 50, n_items: int = 30, k: int = 6) -> factors.Factors:
    random = np.random.default_rng(3)
    shapes = ((n_users,), (n_items,), (n_users, k), (n_items, k))
    return factors.Factors(
        np.float32(3.5), *(random.normal(size=shape).astype(np.float32) for shape in shapes)
    )


def pairs(n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    return random.integers(0, 50, n, dtype=np.int32), random.integers(0, 30, n, dtype=np.int32)


def test_a_prediction_is_the_mean_both_biases_and_the_inner_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, (users, items) = draw(), pairs()
    expected = [
        3.5
        + given.user_bias[u]
        + given.item_bias[i]
        + given.user_vectors[u] @ given.item_vectors[i]
        for u, i in zip(users, items, strict=True)
    ]
    assert given.predict(users, items) == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr(factors, "CHUNK", 70)
    assert given.predict(users, items) == pytest.approx(expected, abs=1e-5)
    row = given.predict_row(float(given.user_bias[7]), given.user_vectors[7])
    everything = np.arange(30, dtype=np.int32)
    assert row == pytest.approx(given.predict(np.full(30, 7), everything), abs=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.6, 0.0])
@pytest.mark.parametrize("unit", [Unit(), Unit(50.0, 20.0), Unit(0.5, -0.2)])
def test_converted_factors_predict_in_ratings_with_the_share_of_the_network(
    unit: Unit, share: float
) -> None:
    random = np.random.default_rng(5)
    biases = Biases(unit.mean, random.normal(size=50), random.normal(size=30))
    given, (users, items) = draw(), pairs()
    of_network = unit.mean + unit.spread * given.predict(users, items)
    expected = share * of_network + (1 - share) * biases.predict(users, items)
    converted = factors.convert(given, unit, share, biases)
    scale = max(1.0, abs(unit.spread))
    assert converted.predict(users, items) == pytest.approx(expected, abs=1e-5 * scale)
    assert {array.dtype for array in converted} == {np.dtype("float32")}
