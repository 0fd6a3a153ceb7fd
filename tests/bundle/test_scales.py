"""What a network predicts does not depend on the scale that ratings were given on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mftasks import bundle, networks, training
from mftasks.bundle.export import export
from mftasks.data.arrays import Part
from mftasks.scoring.errors import pool_rmse
from tests.bundle.exports import INT_IDS, make_header
from tests.training.fits import SIZES, config

SCALES = [(20.0, 0.0), (0.01, 0.02), (-1.0, 6.0), (-30.0, 100.0)]


def rmse(ratings: Part, folder: Path, a: float, b: float, network: str, optimizer: str) -> float:
    """Return the RMSE of the exported network on ratings that training has not seen."""
    other = ratings._replace(
        ratings=(a * ratings.ratings.astype(np.float64) + b).astype(np.float32)
    )
    turn = np.arange(len(other.ratings)) % 10
    train, valid, test = (
        Part(*(array[rows] for array in other)) for rows in (turn > 1, turn == 1, turn == 0)
    )
    low, high = float(other.ratings.min()), float(other.ratings.max())
    data = training.Data(train, valid, SIZES._replace(mean_rating=0.0), low, high)
    trained = training.fit(config(network, optimizer=optimizer, l2=0.05), data)
    header = make_header(network, train)
    header = type(header)(
        **{name: getattr(header, name) for name in header.__struct_fields__}
        | {"mean_rating": data.biases.mean, "min_rating": low, "max_rating": high}
    )
    folder.mkdir()
    export(
        *(folder, trained.block, header, INT_IDS, train, data.biases),
        unit=trained.unit,
        share=trained.kept.share,
    )
    return pool_rmse(bundle.load(folder).predict_at(test.users, test.items), test.ratings)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("network", networks.names())
def test_the_rmse_of_stretched_ratings_is_stretched_as_much(
    network: str, optimizer: str, tiny_ratings: Part, tmp_path: Path
) -> None:
    usual = rmse(tiny_ratings, tmp_path / "usual", 1.0, 0.0, network, optimizer)
    for number, (a, b) in enumerate(SCALES):
        found = rmse(tiny_ratings, tmp_path / str(number), a, b, network, optimizer)
        assert found / abs(a) == pytest.approx(usual, rel=1e-6), (a, b)
