"""Which part of a split each rating belongs to: train, valid, test, or none.

The order of the rows matters under `canonical` alone, whose folds are lines of one file that is pinned
by its sha256.
"""

from __future__ import annotations

import hashlib
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mftasks.data.table import MISSING, EncodedIds, RatingsTable
from mftasks.errors import InvalidPlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mftasks.data.table import Ids
    from mftasks.records import SplitConfig

LEFT_OUT, TRAIN, VALID, TEST = 0, 1, 2, 3
FOLD_LINES = 20_000
DEFAULT_VALID = 0.1

_WHOLE = 1 << 64
_BLOCK = 1 << 20
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


def assign(table: RatingsTable, config: SplitConfig) -> NDArray[np.uint8]:
    """Return the part of each rating, as one of `LEFT_OUT`, `TRAIN`, `VALID` and `TEST`.

    Raises `InvalidPlan` if the strategy needs what the configuration or the data lack.
    """
    assign_by = {"canonical": _by_fold, "hash": _by_hash, "temporal": _by_time}
    parts = assign_by[config.strategy](table, config)
    parts[~before(table, config)] = LEFT_OUT
    return parts


def before(table: RatingsTable, config: SplitConfig) -> NDArray[np.bool_]:
    """Return which ratings were given before `as_of`; all of them without such a moment."""
    import numpy as np

    if config.as_of is None:
        return np.ones(table.n_ratings, bool)
    return _timestamps(table, "as_of") < _seconds(config.as_of)


def pair_hash(users: EncodedIds, items: EncodedIds, salt: str) -> NDArray[np.uint64]:
    """Return a stable hash of each (user, item) pair, uniform over 64 bits.

    It depends on the two ids and `salt` alone: the integer 196 and the string "196" hash alike.
    """
    import numpy as np

    of_user = _id_hash(users.known, f"{salt}/user")
    of_item = _id_hash(items.known, f"{salt}/item")
    hashes = np.empty(len(users.codes), np.uint64)
    for start in range(0, len(hashes), _BLOCK):
        rows = slice(start, start + _BLOCK)
        hashes[rows] = _mix(of_user[users.codes[rows]] + of_item[items.codes[rows]])
    return hashes


def _by_fold(table: RatingsTable, config: SplitConfig) -> NDArray[np.uint8]:
    """Test on lines (fold − 1)·20,000 + 1 … fold·20,000 of u.data (mku.sh of ml-100k.zip)."""
    import numpy as np

    if config.fold is None:
        raise InvalidPlan("split 'canonical' without a fold; expected 1 to 5")
    parts = np.full(table.n_ratings, TRAIN, np.uint8)
    parts[(config.fold - 1) * FOLD_LINES : config.fold * FOLD_LINES] = TEST
    chosen = pair_hash(table.users, table.items, config.salt) < _threshold(_valid_share(config))
    parts[(parts == TRAIN) & chosen] = VALID
    return parts


def _by_hash(table: RatingsTable, config: SplitConfig) -> NDArray[np.uint8]:
    import numpy as np

    tested, held = config.test_fraction or 0.0, _valid_share(config)
    if tested <= 0 or tested + held >= 1:
        raise InvalidPlan(
            f"split 'hash' with test_fraction {tested} and valid_fraction {held}; "
            "test_fraction must be above 0, and both together below 1"
        )
    hashes = pair_hash(table.users, table.items, config.salt)
    parts = np.full(table.n_ratings, TRAIN, np.uint8)
    parts[hashes < _threshold(tested + held)] = VALID
    parts[hashes < _threshold(tested)] = TEST
    return parts


def _by_time(table: RatingsTable, config: SplitConfig) -> NDArray[np.uint8]:
    """Test on what comes from `test_from` on, and validate on the last time before it.

    So the epoch and the network are chosen by the question that the test part asks. At most half of
    the past is held back. Ratings of one moment stay together.
    """
    import numpy as np

    if config.test_from is None:
        raise InvalidPlan("split 'temporal' without test_from; expected a moment, in ISO 8601")
    moments = _timestamps(table, "split 'temporal'")
    parts = np.where(moments < _seconds(config.test_from), TRAIN, TEST).astype(np.uint8)
    included = before(table, config)
    past = np.sort(moments[included & (parts == TRAIN)])
    share = config.valid_fraction
    if share is None:
        share = min(1 - len(past) / max(np.count_nonzero(included), 1), 0.5)
    n_held = math.ceil(share * len(past))
    if n_held:
        parts[(parts == TRAIN) & (moments >= past[-n_held])] = VALID
    return parts


def _valid_share(config: SplitConfig) -> float:
    return DEFAULT_VALID if config.valid_fraction is None else config.valid_fraction


def _threshold(fraction: float) -> Any:
    import numpy as np

    return np.uint64(int(fraction * _WHOLE))


def _timestamps(table: RatingsTable, who: str) -> NDArray[np.int64]:
    if table.timestamps is None:
        raise InvalidPlan(f"{who} needs timestamps, and the data have none; use hash instead")
    n_missing = int((table.timestamps == MISSING).sum())
    if n_missing:
        raise InvalidPlan(f"{who} needs timestamps, and {n_missing:,} ratings have none")
    return table.timestamps


def _seconds(moment: datetime) -> float:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.timestamp()


def _id_hash(ids: Ids, salt: str) -> NDArray[np.uint64]:
    import numpy as np

    seed = int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest(), "little")
    if ids.dtype.kind == "i":
        return _mix(ids.astype(np.uint64) ^ np.uint64(seed))
    numbers = np.array([_INTEGER.fullmatch(text) is not None for text in ids.tolist()], bool)
    hashes = np.empty(len(ids), np.uint64)
    hashes[numbers] = _id_hash(ids[numbers].astype(np.int64), salt)
    hashes[~numbers] = [_text_hash(text, seed) for text in ids[~numbers].tolist()]
    return hashes


def _text_hash(text: str, seed: int) -> int:
    key = seed.to_bytes(8, "little")
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=key).digest()
    return int.from_bytes(digest, "little")


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64's output function of each value (Steele, Lea and Flood, 2014)."""
    import numpy as np

    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
