from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mftasks.data.table import MISSING, EncodedIds, RatingsTable, encode


def encode_batches(*batches: pa.Array) -> EncodedIds:
    return encode(pa.chunked_array(batches))


@pytest.mark.parametrize(
    "values",
    [
        [3, 1, 2, 1, 3, 900_000],
        [-5, 7, -5, 0],
        [2**31, 5, 2**31 - 1, 5],
        [2**62, -(2**62), 0, 2**62],
        [1, 2_000_000_000, 1],
        [4],
    ],
    ids=["near", "negative", "64 bits", "far apart", "sparse", "one"],
)
def test_integers_are_encoded_among_their_sorted_distinct_values(values: list[int]):
    ids = encode_batches(pa.array(values[:2]), pa.array(values[2:], pa.int64()))
    assert ids.known.tolist() == sorted(set(values))
    assert ids.known[ids.codes].tolist() == values
    assert (ids.known.dtype, ids.codes.dtype) == ("int64", "int32")


def test_a_missing_integer_is_told_from_every_other():
    ids = encode_batches(pa.array([5, None]), pa.array([7, 5]))
    assert ids.known[ids.codes].tolist() == [5, MISSING, 7, 5]


def test_strings_are_encoded_over_the_batches_whatever_their_order():
    ids = encode_batches(
        pa.array(["zoë", "bob", "zoë"]),
        pa.array(["ana", None, "bob"]),
    )
    assert ids.known.tolist() == ["", "ana", "bob", "zoë"]
    assert ids.known[ids.codes].tolist() == ["zoë", "bob", "zoë", "ana", "", "bob"]
    whole = encode_batches(pa.array(["b", "a"]))
    assert whole.known.tolist() == ["a", "b"]


def test_many_batches_of_strings_are_merged_without_a_mistake():
    random = np.random.default_rng(0)
    values = [f"u{value}" for value in random.integers(0, 300, 3000).tolist()]
    batches = [pa.array(values[start : start + 10]) for start in range(0, 3000, 10)]
    ids = encode_batches(*batches)
    assert ids.known.tolist() == sorted(set(values))
    assert ids.known[ids.codes].tolist() == values


def test_pair_keys_are_ordered_by_user_and_item_beyond_32_bits():
    n = 100_000
    ids = EncodedIds(np.array([n - 1, n - 1, 0, n - 2], np.int32), np.arange(n))
    items = EncodedIds(np.array([n - 1, n - 2, n - 1, n - 1], np.int32), np.arange(n))
    keys = RatingsTable(ids, items, np.ones(4, np.float32), None).pair_keys()
    assert keys.tolist() == [n * n - 1, n * n - 2, n - 1, (n - 2) * n + n - 1]
