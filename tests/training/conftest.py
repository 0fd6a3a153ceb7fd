from __future__ import annotations

import numpy as np
import pytest

from mftasks import training
from mftasks.data.arrays import Part
from tests.training.fits import SIZES


@pytest.fixture
def data(tiny_ratings: Part) -> training.Data:
    """Give the tiny matrix; every fifth rating is for validation."""
    held = np.arange(len(tiny_ratings.ratings)) % 5 == 0
    train, valid = (Part(*(array[chosen] for array in tiny_ratings)) for chosen in (~held, held))
    return training.Data(train, valid, SIZES, 1.0, 5.0)
