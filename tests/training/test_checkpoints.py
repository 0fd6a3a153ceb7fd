from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mftasks.errors import StoreUnavailable
from mftasks.records import EpochMetrics
from mftasks.store.local import LocalStore
from mftasks.training.checkpoints import Checkpoints
from mftasks.training.state import State

PREFIX = "runs/r/mlp/checkpoints/"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def checkpoints(store: LocalStore, fingerprint: str = "f", seconds: float = 0.0) -> Checkpoints:
    return Checkpoints(store, PREFIX, fingerprint, seconds=seconds)


def state(epoch: int, *, best: bool = True) -> State:
    history = tuple(
        EpochMetrics(
            epoch=i + 1,
            train_rmse=1 / 3,
            valid_rmse=0.1 + 0.2,
            learning_rate=0.1,
            seconds=i + 0.1,
            ratings_per_second=1e6,
        )
        for i in range(epoch)
    )
    random = np.random.default_rng(epoch)
    weights, moments, kept = (
        [random.random((n, 3)).astype(np.float32) for n in range(1, 13)] for _ in range(3)
    )
    return State(history, 7 * epoch, weights, moments, kept if best else None)


def assert_equal(one: State | None, other: State) -> None:
    assert one is not None
    assert (one.history, one.n_updates) == (other.history, other.n_updates)
    assert (one.best_weights is None) == (other.best_weights is None)
    for mine, theirs in zip(one[2:], other[2:], strict=True):
        for a, b in zip(mine or (), theirs or (), strict=True):
            assert a.dtype == np.float32
            assert np.array_equal(a, b)


@pytest.mark.parametrize("best", [True, False])
def test_a_checkpoint_comes_back_as_it_was(store: LocalStore, best: bool) -> None:
    with checkpoints(store) as kept:
        kept.save(state(3, best=best))
    assert_equal(checkpoints(store).latest(), state(3, best=best))


def test_there_is_none_before_the_first(store: LocalStore) -> None:
    assert checkpoints(store).latest() is None


def test_only_the_last_is_kept(store: LocalStore) -> None:
    with checkpoints(store) as kept:
        for epoch in (1, 2, 12):
            kept.save(state(epoch))
    assert store.list(PREFIX) == [f"{PREFIX}00012.checkpoint"]


def test_those_of_other_data_or_code_are_passed_by(store: LocalStore) -> None:
    with checkpoints(store, "other") as others:
        others.save(state(3))
    assert checkpoints(store).latest() is None


@pytest.mark.parametrize("damage", [lambda data: data[:900], lambda data: b"", lambda data: b"x"])
def test_damaged_ones_are_passed_by_in_favour_of_older_ones(store: LocalStore, damage) -> None:
    with checkpoints(store) as kept:
        kept.save(state(1))
    whole = store.get(f"{PREFIX}00001.checkpoint")
    store.put(f"{PREFIX}00002.checkpoint", damage(whole), "")
    assert_equal(checkpoints(store).latest(), state(1))


def test_one_flipped_bit_is_noticed_wherever_it_is(store: LocalStore) -> None:
    with checkpoints(store) as kept:
        kept.save(state(1))
    (key,) = store.list(PREFIX)
    whole = store.get(key)
    for position in range(0, len(whole), 97):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        store.put(key, bytes(flipped), "")
        assert checkpoints(store).latest() is None


def test_offers_are_written_no_more_often_than_asked(store: LocalStore) -> None:
    with checkpoints(store, seconds=3600) as kept:
        kept.offer(state(1))
    assert store.list(PREFIX) == []
    with checkpoints(store, seconds=0) as kept:
        kept.offer(state(1))
    assert store.list(PREFIX) == [f"{PREFIX}00001.checkpoint"]


def test_saving_waits_for_an_offer_that_is_being_written(store: LocalStore) -> None:
    with checkpoints(store) as kept:
        for epoch in range(1, 6):
            kept.offer(state(epoch))
        kept.save(state(6))
        assert store.list(PREFIX) == [f"{PREFIX}00006.checkpoint"]


def test_a_store_that_does_not_answer_costs_the_checkpoint_and_not_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    with checkpoints(LocalStore(tmp_path / "store")) as kept:
        kept.offer(state(1))
    assert "no checkpoint of epoch 1" in caplog.text
    with (
        checkpoints(LocalStore(tmp_path / "store")) as kept,
        pytest.raises(StoreUnavailable),
    ):
        kept.save(state(1))
