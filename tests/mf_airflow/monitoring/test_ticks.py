from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from mf_airflow.monitoring.ticks import Monitor
from mftasks.progress import Tick
from mftasks.records import EpochMetrics, GpuUse
from tests.mf_airflow.state_store import StateStore


def tick(epoch: int, **changes: Any) -> Tick:
    metrics = EpochMetrics(
        epoch=epoch,
        train_rmse=0.9,
        valid_rmse=0.95,
        learning_rate=0.01,
        seconds=2.0 * epoch,
        ratings_per_second=5e4,
    )
    given = {
        "epoch": metrics,
        "device": "A100",
        "seconds_left": 8.0,
        "peak_rss_bytes": 200_000_000,
    }
    return Tick(work="train mlp", done=epoch, total=9, unit="epochs", **given | changes)


def line(tick: Tick) -> str:
    return msgspec.json.encode(tick).decode()


def test_an_epoch_is_a_line_of_the_log_an_entry_of_the_state_store_and_metrics(
    caplog: pytest.LogCaptureFixture, sent: dict[tuple[str, ...], float]
) -> None:
    caplog.set_level(logging.INFO)
    store = StateStore()
    monitor = Monitor({"task_state_store": store}, "mlp")
    gpu = GpuUse(device="A100 (GPU-3f)", memory_used_bytes=1, memory_total_bytes=4, utilization=0.5)
    for epoch in (1, 2, 3):
        monitor.take(line(tick(epoch, gpus=(gpu,))))
    monitor.flush()
    assert [record.getMessage() for record in caplog.records][-1] == (
        "train mlp: epoch 3 of 9, train RMSE 0.9000, valid RMSE 0.9500, 50,000 ratings/s, "
        "8 s left, on A100"
    )
    assert len(caplog.records) == 3
    key, last = store.values[-1]
    assert key == "progress"
    assert (last["done"], last["total"], last["seconds_left"], last["device"]) == (3, 9, 8, "A100")
    assert last["epoch"]["valid_rmse"] == 0.95
    assert last["epoch"]["ratings_per_second"] == 5e4
    assert sent == {
        ("mf.train.epochs", "mlp"): 3,
        ("mf.train.epoch", "mlp"): 3,
        ("mf.train.failed_checkpoints", "mlp"): 0,
        ("mf.train.rmse", "mlp"): 0.9,
        ("mf.train.valid_rmse", "mlp"): 0.95,
        ("mf.train.ratings_per_second", "mlp"): 5e4,
        ("mf.train.seconds_left", "mlp"): 8.0,
        ("mf.train.peak_rss_bytes", "mlp"): 200_000_000,
        ("mf.gpu.memory_used_bytes", "mlp", "A100__GPU-3f_"): 1,
        ("mf.gpu.memory_total_bytes", "mlp", "A100__GPU-3f_"): 4,
        ("mf.gpu.utilization", "mlp", "A100__GPU-3f_"): 0.5,
    }


def test_what_is_not_known_is_not_measured(sent: dict[tuple[str, ...], float]) -> None:
    known = tick(1, peak_rss_bytes=None)
    metrics = msgspec.structs.replace(known.epoch, valid_rmse=None)
    monitor = Monitor({"task_state_store": StateStore()}, "mlp")
    monitor.take(line(msgspec.structs.replace(known, epoch=metrics)))
    assert ("mf.train.rmse", "mlp") in sent
    assert not {("mf.train.valid_rmse", "mlp"), ("mf.train.peak_rss_bytes", "mlp")} & set(sent)
    assert monitor.held() == ""


def test_it_knows_how_much_memory_the_child_has_held() -> None:
    monitor = Monitor({"task_state_store": StateStore()}, "mlp")
    assert monitor.held() == ""
    monitor.take(line(tick(1)))
    assert monitor.held() == ", when it held 200.0 MB or more"


def test_quick_epochs_do_not_flood_the_state_store() -> None:
    store = StateStore()
    monitor = Monitor({"task_state_store": store}, "mlp")
    for epoch in range(1, 10):
        monitor.take(line(tick(epoch)))
    monitor.flush()
    assert len(store.values) < 9
    assert store.values[-1][1]["done"] == 9


class BrokenStore(StateStore):
    """An API server that is away: each call fails."""

    calls = 0

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.calls += 1
        raise RuntimeError("API_SERVER_ERROR")

    def get(self, key: str, default: Any = None) -> Any:
        raise RuntimeError("API_SERVER_ERROR")


def test_a_training_goes_on_when_its_progress_cannot_be_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = BrokenStore()
    monitor = Monitor({"task_state_store": store}, "mlp")
    for epoch in range(1, 5):
        monitor.take(line(tick(epoch)))
    assert store.calls == 1  # each may take a minute, in which nobody reads what the child writes
    monitor.flush()
    assert [one for one in caplog.messages if "API_SERVER_ERROR" in one]


def test_a_wait_is_an_entry_of_the_state_store_and_a_metric_until_the_training_goes_on(
    sent: dict[tuple[str, ...], float],
) -> None:
    store = StateStore()
    waiting = Tick(
        work="train mlp",
        done=0,
        total=9,
        unit="epochs",
        waiting_for="1 of 1 devices: A100 is held by train mlp of other",
    )
    first = Monitor({"task_state_store": store}, "mlp")
    first.take(line(waiting))
    first.flush()
    assert store.get("waiting")["detail"].startswith("1 of 1 devices")
    since = store.get("waiting")["since"]
    second = Monitor({"task_state_store": store}, "mlp")  # a later process of the same task
    second.take(line(waiting))
    second.flush()
    assert (store.get("waiting")["since"], store.get("waiting")["until"]) == (since, None)
    assert sent["mf.train.waiting_seconds", "mlp", "device"] > 0
    second.take(line(tick(2)))
    second.flush()
    assert store.get("waiting")["until"] is not None
    assert sent["mf.train.waiting_seconds", "mlp", "device"] == 0
