from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from mftasks.data import splitting
from mftasks.data.table import EncodedIds, RatingsTable
from mftasks.records import SplitConfig

HASH = SplitConfig(strategy="hash", test_fraction=0.2, valid_fraction=0.1)


# What version 1 gave: other figures here would move ratings between the parts of old runs.
HASHES = [4839721995294247623, 6637828769117826276, 13481662629459987117]
TEXT_HASHES = [1596223267731451923, 588472195877656120]


def ids(values: object) -> EncodedIds:
    known, codes = np.unique(np.asarray(values), return_inverse=True)
    return EncodedIds(codes.astype(np.int32), known)


def table(n_users: int = 300, n_items: int = 200, seed: int = 0) -> RatingsTable:
    """Return distinct random pairs, rated one after the other."""
    random = np.random.default_rng(seed)
    pairs = random.permutation(n_users * n_items)[: n_users * n_items // 3]
    return RatingsTable(
        ids(pairs // n_items * 3 + 1),
        ids(pairs % n_items * 11),
        random.integers(1, 6, len(pairs)).astype(np.float32),
        np.arange(len(pairs)) + 1_000_000_000,
    )


def by_pair(of: RatingsTable, config: SplitConfig) -> dict[tuple[int, int], int]:
    users, items = of.users.known[of.users.codes], of.items.known[of.items.codes]
    assigned = splitting.assign(of, config).tolist()
    return dict(zip(zip(users.tolist(), items.tolist(), strict=True), assigned, strict=True))


def some(of: RatingsTable, rows: np.ndarray) -> RatingsTable:
    """Return chosen rows as a table of their own, with its own codes."""
    assert of.timestamps is not None
    return RatingsTable(
        ids(of.users.known[of.users.codes[rows]]),
        ids(of.items.known[of.items.codes[rows]]),
        of.ratings[rows],
        of.timestamps[rows],
    )


def share(assigned: np.ndarray, part: int) -> float:
    return float((assigned == part).mean())


def test_hash_parts_have_the_shares_that_were_asked_for():
    assigned = splitting.assign(table(), HASH)
    assert share(assigned, splitting.TEST) == pytest.approx(0.2, abs=0.01)
    assert share(assigned, splitting.VALID) == pytest.approx(0.1, abs=0.01)
    assert share(assigned, splitting.TRAIN) == pytest.approx(0.7, abs=0.01)


def test_hash_parts_every_user_and_every_item_by_the_same_share():
    of = table()
    tested = splitting.assign(of, HASH) == splitting.TEST
    for encoded in (of.users, of.items):
        n = np.bincount(encoded.codes)
        spread = (np.bincount(encoded.codes[tested], minlength=len(n)) / n).std()
        assert spread == pytest.approx(np.sqrt(0.2 * 0.8 * np.mean(1 / n)), rel=0.2)


def test_a_rating_keeps_its_part_when_the_data_grow():
    whole = table()
    before = by_pair(some(whole, np.arange(5000)), HASH)
    after = by_pair(whole, HASH)
    assert len(after) > len(before)
    assert {pair: after[pair] for pair in before} == before


def test_a_rating_keeps_its_part_when_ids_become_strings():
    of = table()
    text = of._replace(
        users=ids(of.users.known[of.users.codes].astype(str)),
        items=ids(of.items.known[of.items.codes].astype(str)),
    )
    assert (splitting.assign(of, HASH) == splitting.assign(text, HASH)).all()


def test_hashes_never_change():
    users, items = ids([196, 22, 22]), ids([242, 242, 377])
    assert splitting.pair_hash(users, items, "movielens-mf").tolist() == HASHES
    text = splitting.pair_hash(ids(["ana", "007"]), ids(["x", "y"]), "movielens-mf")
    assert text.tolist() == TEXT_HASHES


def test_user_and_item_are_not_interchangeable():
    first = splitting.pair_hash(ids([5]), ids([9]), "salt")
    second = splitting.pair_hash(ids([9]), ids([5]), "salt")
    assert first != second


def test_another_salt_gives_other_parts():
    other = SplitConfig(strategy="hash", test_fraction=0.2, valid_fraction=0.1, salt="other")
    both = (splitting.assign(table(), HASH) == splitting.TEST) & (
        splitting.assign(table(), other) == splitting.TEST
    )
    assert both.mean() == pytest.approx(0.04, abs=0.01)


@pytest.mark.parametrize(
    "config",
    [HASH, SplitConfig(strategy="temporal", test_from=datetime.fromtimestamp(1_000_015_000, UTC))],
    ids=["hash", "temporal"],
)
def test_the_order_of_the_rows_does_not_matter(config: SplitConfig):
    of = table()
    mixed = some(of, np.random.default_rng(1).permutation(of.n_ratings))
    assert by_pair(mixed, config) == by_pair(of, config)


def test_canonical_folds_are_lines_of_the_file_and_cover_it_once():
    n = 100_000
    of = RatingsTable(
        ids(np.arange(n) // 100), ids(np.arange(n) % 100), np.ones(n, np.float32), None
    )
    tested = np.zeros(n, int)
    for fold in range(1, 6):
        assigned = splitting.assign(of, SplitConfig(strategy="canonical", fold=fold))
        lines = np.flatnonzero(assigned == splitting.TEST)
        assert lines.tolist() == list(range((fold - 1) * 20_000, fold * 20_000))
        assert share(assigned, splitting.VALID) == pytest.approx(0.08, abs=0.005)
        tested += assigned == splitting.TEST
    assert (tested == 1).all()
    no_valid = SplitConfig(strategy="canonical", fold=1, valid_fraction=0.0)
    assert set(splitting.assign(of, no_valid).tolist()) == {splitting.TRAIN, splitting.TEST}


def test_temporal_tests_on_what_came_at_the_moment_or_after_it():
    moment = datetime.fromtimestamp(1_000_015_000, UTC)
    of = table()
    assigned = splitting.assign(of, SplitConfig(strategy="temporal", test_from=moment))
    assert (of.timestamps[assigned == splitting.TEST] >= 1_000_015_000).all()
    assert (of.timestamps[assigned != splitting.TEST] < 1_000_015_000).all()


def test_temporal_validates_on_the_last_time_before_the_test():
    of = table()
    moment = datetime.fromtimestamp(1_000_015_000, UTC)
    config = SplitConfig(strategy="temporal", test_from=moment, valid_fraction=None)
    assigned = splitting.assign(of, config)
    first = of.timestamps[assigned == splitting.VALID].min()
    assert of.timestamps[assigned == splitting.TRAIN].max() < first
    past = assigned[of.timestamps < 1_000_015_000]
    tested = share(assigned, splitting.TEST)
    assert share(past, splitting.VALID) == pytest.approx(tested, abs=0.001)
    fixed = SplitConfig(strategy="temporal", test_from=moment, valid_fraction=0.1)
    past = splitting.assign(of, fixed)[of.timestamps < 1_000_015_000]
    assert share(past, splitting.VALID) == pytest.approx(0.1, abs=0.001)


def test_the_validation_part_of_a_short_past_leaves_half_of_it_for_training():
    moment = datetime.fromtimestamp(1_000_002_000, UTC)
    config = SplitConfig(strategy="temporal", test_from=moment, valid_fraction=None)
    past = splitting.assign(table(), config)[:2000]
    assert share(past, splitting.VALID) == 0.5


def test_ratings_after_as_of_have_no_say_in_the_validation_part():
    of = table()
    ends = datetime.fromtimestamp(1_000_015_000, UTC)
    as_of = datetime.fromtimestamp(1_000_016_000, UTC)
    config = SplitConfig(strategy="temporal", test_from=ends, as_of=as_of, valid_fraction=None)
    assigned = splitting.assign(of, config)
    assert np.count_nonzero(assigned == splitting.TEST) == 1000
    assert np.count_nonzero(assigned == splitting.VALID) == pytest.approx(15_000 / 16, abs=1)


def test_ratings_of_one_moment_stay_together_in_time():
    of = table()
    of.timestamps[:] = of.timestamps // 1000 * 1000
    moment = datetime.fromtimestamp(1_000_015_000, UTC)
    config = SplitConfig(strategy="temporal", test_from=moment, valid_fraction=0.05)
    assigned = splitting.assign(of, config)
    assert np.unique(of.timestamps[assigned == splitting.VALID]).tolist() == [1_000_014_000]


@pytest.mark.parametrize("zone", [UTC, None])
def test_as_of_leaves_out_what_came_at_the_moment_or_after_it(zone: object):
    moment = datetime.fromtimestamp(1_000_010_000, UTC).replace(tzinfo=zone)
    of = table()
    assigned = splitting.assign(of, SplitConfig(strategy="hash", test_fraction=0.2, as_of=moment))
    assert ((assigned == splitting.LEFT_OUT) == (of.timestamps >= 1_000_010_000)).all()
    assert (assigned == splitting.LEFT_OUT).any()
