from __future__ import annotations

import logging

import pytest

from mftasks import progress
from mftasks.progress import Tick
from mftasks.records import EpochMetrics, GpuUse

EPOCH = EpochMetrics(
    epoch=3,
    train_rmse=0.91234,
    valid_rmse=0.95678,
    learning_rate=0.01,
    seconds=6.0,
    ratings_per_second=81_234.0,
)
TRAINING = Tick(
    work="train mlp",
    done=3,
    total=9,
    unit="epochs",
    device="cpu",
    epoch=EPOCH,
    seconds_left=12.0,
    peak_rss_bytes=200_000_000,
    gpus=(GpuUse(device="A100", memory_used_bytes=1, memory_total_bytes=2, utilization=0.5),),
)


def test_an_epoch_is_one_line_with_the_time_that_is_left() -> None:
    assert progress.describe(TRAINING) == (
        "train mlp: epoch 3 of 9, train RMSE 0.9123, valid RMSE 0.9568, 81,234 ratings/s, "
        "12 s left, on cpu"
    )


def test_a_wait_for_a_device_is_one_line_in_a_log_and_in_a_bar(caplog, capsys) -> None:
    caplog.set_level(logging.INFO)
    waits = "1 of 1 devices: cpu 0 is held by train linear of r (process 7, for 3 s)"
    tick = Tick(work="train mlp", done=0, total=9, unit="epochs", waiting_for=waits)
    with progress.reporter("lines") as on_tick:
        on_tick(tick)
    assert caplog.messages == [f"train mlp: waits for {waits}"]
    with progress.reporter("bar") as on_tick:
        on_tick(tick)
    assert "waits for 1 of 1" in capsys.readouterr().err


def test_a_tick_survives_the_way_to_the_parent(capsys) -> None:
    with progress.reporter("json") as on_tick:
        on_tick(TRAINING)
    assert progress.parse(capsys.readouterr().out) == TRAINING


@pytest.mark.parametrize("line", ["", "Epoch 3", '{"work": 3}', '{"work"', '{"other": 1}'])
def test_another_line_is_no_tick(line: str) -> None:
    assert progress.parse(line) is None


def test_a_log_gets_every_epoch_but_not_every_piece_of_a_transfer(caplog) -> None:
    caplog.set_level(logging.INFO)
    with progress.reporter("lines") as on_tick:
        for done in range(1, 101):
            on_tick(Tick(work="download", done=done, total=100, unit="bytes"))
        on_tick(TRAINING)
        on_tick(TRAINING)
    assert [line.partition(":")[0] for line in caplog.messages] == [
        "download",
        "train mlp",
        "train mlp",
    ]


def test_a_person_gets_a_bar_for_each_piece_of_work(capsys) -> None:
    with progress.reporter("bar") as on_tick:
        on_tick(Tick(work="download", done=50, total=100, unit="bytes"))
        on_tick(TRAINING)
    shown = capsys.readouterr().err
    assert "download" in shown
    assert "train mlp" in shown
