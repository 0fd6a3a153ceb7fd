from __future__ import annotations

import numpy as np
import pytest

from mftasks.factors.biases import Biases


def test_what_is_unknown_adds_nothing() -> None:
    biases = Biases(3.0, np.array([0.5, -0.25]), np.array([1.0]))
    users, items = np.array([0, 1, -1, -7, 1], np.int32), np.array([0, -1, 0, -2, 0], np.int32)
    predicted = biases.predict(users, items)
    assert predicted == pytest.approx([4.5, 2.75, 4.0, 3.0, 3.75])
    assert predicted.dtype == np.float32
