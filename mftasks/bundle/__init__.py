"""An exported network with all that predicting needs, as files that anybody can check.

model-symbol.json    MXNet's symbol: (users, items) positions → predicted
model-0000.params    its parameters and constant tables
factors.npz          the same as plain arrays, for NumPy alone (`mftasks.factors.Factors`); not for a network
                     that is no inner product of two sides
vocabulary.npz       ids in the order of their positions; mean, number of ratings and bias of each
bundle.json          what was trained on what (`Header`), and the sha256 of the others

    from mftasks import bundle
    model = bundle.load("s3://movielens/runs/nightly/mlp/bundle")
    model.predict([196, 22], [242, 377])
    model.recommend(model.fold_in({50: 5, 181: 4, 313: 1}))    # for somebody new
    model.similar(50)

No file holds a time or a host: equal trainings give equal bytes.
"""

from __future__ import annotations

from mftasks.bundle.files import FILES, INDEX, SYMBOL, Header, Index, Tables
from mftasks.bundle.model import Bundle, load, read
from mftasks.factors.folding import FoldedIn

__all__ = [
    "FILES",
    "INDEX",
    "SYMBOL",
    "Bundle",
    "FoldedIn",
    "Header",
    "Index",
    "Tables",
    "load",
    "read",
]
