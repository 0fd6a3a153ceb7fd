"""Which part of a split each rating belongs to: train, valid, test, or none.

The order of the rows matters only under `canonical`, whose folds are lines of one file that is pinned
by its sha256.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mftasks.data.table import find_plain_numbers

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from mftasks.data.arrays import Ids
    from mftasks.data.table import EncodedIds, RatingsTable
    from mftasks.records import SplitConfig

LEFT_OUT, TRAIN, VALID, TEST = 0, 1, 2, 3
FOLD_LINES = 20_000

_WHOLE = 1 << 64
_BLOCK = 1 << 20


def assign(table: RatingsTable, config: SplitConfig) -> NDArray[np.uint8]:
    """Return the part of each rating, as one of `LEFT_OUT`, `TRAIN`, `VALID` and `TEST`.

    The strategy has what it needs: `plan` checks the configuration, and `validate` the timestamps.
    """
    strategies = {
        "canonical": _assign_by_fold,
        "hash": _assign_by_hash,
        "temporal": _assign_by_time,
    }
    parts = strategies[config.strategy](table, config)
    parts[~before(table, config)] = LEFT_OUT
    return parts


def before(table: RatingsTable, config: SplitConfig) -> NDArray[np.bool_]:
    """Return which ratings were given before `as_of`; all of them without such a moment."""
    if config.as_of is None:
        return np.ones(table.n_ratings, bool)
    return cast("NDArray[np.int64]", table.timestamps) < config.as_of.timestamp()


def pair_hash(users: EncodedIds, items: EncodedIds, salt: str) -> NDArray[np.uint64]:
    """Return a stable hash of each (user, item) pair, uniform over 64 bits.

    It depends on the two ids and `salt` alone: the integer 196 and the string "196" hash alike.
    """
    of_user = _hash_ids(users.known, f"{salt}/user")
    of_item = _hash_ids(items.known, f"{salt}/item")
    hashes = np.empty(len(users.codes), np.uint64)
    for start in range(0, len(hashes), _BLOCK):
        rows = slice(start, start + _BLOCK)
        hashes[rows] = _mix(of_user[users.codes[rows]] + of_item[items.codes[rows]])
    return hashes


def _assign_by_fold(table: RatingsTable, config: SplitConfig) -> NDArray[np.uint8]:
    """Test on lines (fold − 1)·20,000 + 1 … fold·20,000 of u.data (mku.sh of ml-100k.zip)."""
    fold = config.fold or 1
    held = pair_hash(table.users, table.items, config.salt) < _find_threshold(config.valid_fraction)
    parts = np.where(held, VALID, TRAIN).astype(np.uint8)
    parts[(fold - 1) * FOLD_LINES : fold * FOLD_LINES] = TEST
    return parts


def _assign_by_hash(table: RatingsTable, config: SplitConfig) -> NDArray[np.uint8]:
    tested, held = config.test_fraction or 0.0, config.valid_fraction or 0.0
    hashes = pair_hash(table.users, table.items, config.salt)
    parts = np.where(hashes < _find_threshold(tested + held), VALID, TRAIN).astype(np.uint8)
    parts[hashes < _find_threshold(tested)] = TEST
    return parts


def _assign_by_time(table: RatingsTable, config: SplitConfig) -> NDArray[np.uint8]:
    """Test on what comes from `test_from` on, and validate on the last time before it.

    So the epoch and the network are chosen by the question that the test part asks. At most half of
    the past is held back. Ratings of one moment stay together.
    """
    test_from = cast("datetime", config.test_from)
    moments = cast("NDArray[np.int64]", table.timestamps)
    parts = np.where(moments < test_from.timestamp(), TRAIN, TEST).astype(np.uint8)
    included = before(table, config)
    past = np.sort(moments[included & (parts == TRAIN)])
    share = config.valid_fraction
    if share is None:
        share = min(1 - len(past) / max(np.count_nonzero(included), 1), 0.5)
    n_held = math.ceil(share * len(past))
    if n_held:
        parts[(parts == TRAIN) & (moments >= past[-n_held])] = VALID
    return parts


def _find_threshold(fraction: float | None) -> Any:
    return np.uint64(int((fraction or 0.0) * _WHOLE))


def _hash_ids(ids: Ids, salt: str) -> NDArray[np.uint64]:
    seed = hashlib.blake2b(salt.encode(), digest_size=8).digest()
    if ids.dtype.kind == "i":
        return _mix(ids.astype(np.uint64) ^ np.frombuffer(seed, "<u8"))
    numbers = find_plain_numbers(ids)
    hashes = np.empty(len(ids), np.uint64)
    hashes[numbers] = _hash_ids(ids[numbers].astype(np.int64), salt)
    hashes[~numbers] = [_hash_text(text, seed) for text in ids[~numbers].tolist()]
    return hashes


def _hash_text(text: str, seed: bytes) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=seed).digest()
    return int.from_bytes(digest, "little")


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64's output function of each value (Steele, Lea and Flood, 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
