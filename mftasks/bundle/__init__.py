"""An exported network with all that predicting needs, as files that anybody can check.

model-symbol.json    MXNet's symbol: (users, items) positions → predicted
model-0000.params    its parameters and constant tables
vocabulary.npz       ids in the order of their positions, mean and number of ratings of each
bundle.json          what was trained on what (`Header`), and the sha256 of the other three

    from mftasks import bundle
    bundle.load("s3://movielens/runs/nightly/mlp/bundle").predict([196, 22], [242, 377])

No file holds a time or a host: equal trainings give equal bytes.
"""

from __future__ import annotations

from mftasks.bundle.files import FILES, INDEX, SYMBOL, Header, Index, Tables
from mftasks.bundle.model import Bundle, load, read

__all__ = ["FILES", "INDEX", "SYMBOL", "Bundle", "Header", "Index", "Tables", "load", "read"]
