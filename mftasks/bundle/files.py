"""The files of a bundle: their names, and what bundle.json and vocabulary.npz hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from mftasks.errors import InvalidDataset, InvalidPlan
from mftasks.records import Count, Record, TrainConfig

if TYPE_CHECKING:
    from mftasks.data.arrays import Ids

SYMBOL = "model-symbol.json"
PARAMETERS = "model-0000.params"
VOCABULARY = "vocabulary.npz"
FACTORS = "factors.npz"
INDEX = "bundle.json"
FILES = {
    SYMBOL: "application/json",
    PARAMETERS: "application/octet-stream",
    VOCABULARY: "application/octet-stream",
    FACTORS: "application/octet-stream",
    INDEX: "application/json",
}

FORMAT = 1
Floats = NDArray[np.float32]
Positions = NDArray[np.int32]


class Header(Record, frozen=True, kw_only=True):
    """What a bundle is: which network, trained how, on which split, by which code.

    `noise` is the RMSE on ratings that training has not seen, None without a validation part.
    """

    network: str
    config: TrainConfig
    split_fingerprint: str
    n_users: Count
    n_items: Count
    n_ratings: Count
    mean_rating: float
    min_rating: float
    max_rating: float
    noise: float | None = None
    code_version: str
    libraries: dict[str, str]


class Index(Record, frozen=True, kw_only=True):
    """The content of bundle.json; `files` maps each other file to its sha256."""

    format: int
    header: Header
    files: dict[str, str]


class Tables(NamedTuple):
    """By position, the ids, and what is known of each user and item without any network."""

    user_ids: Ids
    item_ids: Ids
    user_means: Floats
    item_means: Floats
    user_counts: Positions
    item_counts: Positions
    user_biases: Floats
    item_biases: Floats


def read_index(path: Path) -> Index:
    """Return the content of bundle.json; raises `InvalidDataset` or `InvalidPlan` if unreadable."""
    try:
        index = msgspec.json.decode(path.read_bytes(), type=Index)
    except msgspec.DecodeError as error:
        raise InvalidDataset(f"bundle.json is not that of a bundle: {error}") from error
    if index.format != FORMAT:
        raise InvalidPlan(f"the bundle has format {index.format}; this code reads {FORMAT}")
    return index
