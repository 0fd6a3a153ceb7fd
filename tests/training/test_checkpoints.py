from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mftasks import version
from mftasks.errors import ChecksumMismatch, StoreUnavailable
from mftasks.records import EpochMetrics, TrainConfig
from mftasks.store.local import LocalStore
from mftasks.training import checkpoints as module
from mftasks.training.checkpoints import Checkpoints, fingerprint
from mftasks.training.state import State

ROOT = Path(__file__).parents[2]
PREFIX = "runs/r/mlp/checkpoints/"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def checkpoints(store: LocalStore, fingerprint: str = "f", seconds: float = 0.0) -> Checkpoints:
    return Checkpoints(store, PREFIX, fingerprint, seconds=seconds)


def save(kept: Checkpoints, state: State) -> None:
    kept.offer(state)
    kept.save()


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
    return State(history, 7 * epoch, weights, moments, kept if best else None, epoch + 0.5)


def assert_equal(one: State | None, other: State) -> None:
    assert one is not None
    assert (one.history, one.n_updates) == (other.history, other.n_updates)
    assert one.cpu_seconds == other.cpu_seconds
    assert (one.best_weights is None) == (other.best_weights is None)
    for mine, theirs in zip(one[2:5], other[2:5], strict=True):
        for a, b in zip(mine or (), theirs or (), strict=True):
            assert a.dtype == np.float32
            assert np.array_equal(a, b)


@pytest.mark.parametrize("best", [True, False])
def test_a_checkpoint_comes_back_as_it_was(store: LocalStore, best: bool) -> None:
    with checkpoints(store) as kept:
        save(kept, state(3, best=best))
    assert_equal(checkpoints(store).read_latest(), state(3, best=best))


def test_there_is_none_before_the_first(store: LocalStore) -> None:
    assert checkpoints(store).read_latest() is None


def test_only_the_last_is_kept(store: LocalStore) -> None:
    with checkpoints(store) as kept:
        for epoch in (1, 2, 12):
            save(kept, state(epoch))
    assert store.list(PREFIX) == [f"{PREFIX}00012.checkpoint"]


def test_those_of_other_data_or_code_are_skipped(store: LocalStore) -> None:
    with checkpoints(store, "other") as others:
        save(others, state(3))
    assert checkpoints(store).read_latest() is None


@pytest.mark.parametrize("damage", [lambda data: data[:900], lambda data: b"", lambda data: b"x"])
def test_damaged_ones_are_skipped_in_favour_of_older_ones(store: LocalStore, damage) -> None:
    with checkpoints(store) as kept:
        save(kept, state(1))
    whole = store.get(f"{PREFIX}00001.checkpoint")
    store.put(f"{PREFIX}00002.checkpoint", damage(whole), "")
    assert_equal(checkpoints(store).read_latest(), state(1))


def test_one_flipped_bit_is_noticed_wherever_it_is(store: LocalStore) -> None:
    with checkpoints(store) as kept:
        save(kept, state(1))
    (key,) = store.list(PREFIX)
    whole = store.get(key)
    for position in range(0, len(whole), 97):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        store.put(key, bytes(flipped), "")
        assert checkpoints(store).read_latest() is None


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
        save(kept, state(6))
        assert store.list(PREFIX) == [f"{PREFIX}00006.checkpoint"]


@pytest.mark.parametrize(
    "error", [StoreUnavailable("away"), ChecksumMismatch("damaged"), MemoryError(), OSError("full")]
)
def test_a_checkpoint_that_fails_is_logged_and_counted_whatever_the_reason(
    error: Exception, store: LocalStore, caplog: pytest.LogCaptureFixture, monkeypatch
) -> None:
    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr(store, "put", fail)
    with checkpoints(store) as kept:
        kept.offer(state(1))
    assert f"no checkpoint of epoch 1: {type(error).__name__}" in caplog.text
    assert kept.n_failed == 1
    with checkpoints(store) as kept:
        monkeypatch.setattr(kept, "_seconds", 3600)
        save(kept, state(2))
    assert "no checkpoint of epoch 2" in caplog.text


def test_a_checkpoint_of_a_record_that_has_changed_is_skipped(
    store: LocalStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with checkpoints(store) as kept:
        save(kept, state(1))

    class Header(module._Header, frozen=True, kw_only=True):
        new: int

    monkeypatch.setattr(module, "_Header", Header)
    assert checkpoints(store).read_latest() is None
    assert "missing required field `new`" in caplog.text


def test_saving_again_writes_nothing(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with checkpoints(store) as kept:
        save(kept, state(1))
        monkeypatch.delattr(LocalStore, "put")
        kept.save()
    assert kept.n_failed == 0


CONFIG = TrainConfig(network="mlp", params={}, epochs=1, batch_size=1, learning_rate=0.1)


def test_the_fingerprint_is_of_data_and_configuration() -> None:
    other = msgspec.structs.replace(CONFIG, epochs=2)
    found = {fingerprint(CONFIG, "f"), fingerprint(CONFIG, "g"), fingerprint(other, "f")}
    assert len(found) == 3
    assert fingerprint(CONFIG, "f") in found


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of the sources of which the fingerprint is taken."""
    shutil.copytree(version.PACKAGE, tmp_path / "mftasks")
    monkeypatch.setattr(version, "PACKAGE", tmp_path / "mftasks")
    monkeypatch.setattr(version, "sources_hash", version.sources_hash.__wrapped__)
    return tmp_path / "mftasks"


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("training/loop.py", True),
        ("training/optimizer.py", True),
        ("networks/mlp.py", True),
        ("data/arrays.py", True),
        ("mx.py", True),
        ("plots/words.py", False),
        ("__main__.py", False),
        ("records/plan.py", False),
    ],
)
def test_only_code_that_can_change_a_training_makes_its_checkpoints_useless(
    name: str, counts: bool, copy: Path
) -> None:
    before = fingerprint(CONFIG, "f")
    with (copy / name).open("a") as source:
        source.write("# a comment\n")
    assert (fingerprint(CONFIG, "f") != before) is counts


# What a training imports beside `SOURCES` and the records, and cannot change what it computes.
WITHOUT_INFLUENCE = {"", "data", "errors", "scoring"}


def test_the_fingerprint_covers_all_that_a_training_imports() -> None:
    script = (
        "import sys, mftasks.training.loop; from mftasks import networks; "
        "[networks.load(name) for name in networks.names()]; import mftasks.networks._sides; "
        "print(*(name for name in sys.modules if name.split('.')[0] == 'mftasks'))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {name.partition(".")[2] for name in asked.stdout.split()}
    sources = (source.removesuffix(".py").replace("/", ".") for source in module.SOURCES)
    covered = tuple(f"{source}." for source in (*sources, "records"))
    left = {name for name in names if not f"{name}.".startswith(covered)}
    assert left <= WITHOUT_INFLUENCE
