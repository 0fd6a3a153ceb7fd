from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mftasks.errors import (
    ChecksumMismatch,
    Interrupted,
    StoreUnavailable,
)
from mftasks.progress import Tick
from mftasks.records import TrainResult
from mftasks.settings import Settings
from mftasks.steps.train import train
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.steps.train.trainings import ROOT, list_digests, make_environment, put_plan


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ChecksumMismatch("damaged")])
def test_a_signal_is_an_interruption_though_no_checkpoint_can_be_stored(
    error: Exception,
    planned: Callable[..., Workspace],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    workspace = planned()

    def fail(*given: Any) -> None:
        raise error

    monkeypatch.setattr(workspace.store, "put", fail)
    with pytest.raises(Interrupted, match="SIGTERM"):
        train(workspace, "r", "linear", on_tick=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert "no checkpoint of epoch 1" in caplog.text


def test_ticks_count_the_checkpoints_that_could_not_be_stored(
    planned: Callable[..., Workspace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = planned(into=Workspace(keep_every_epoch(tmp_path)))
    failed = threading.Event()

    def fail(*given: Any) -> None:
        failed.set()
        raise ChecksumMismatch("damaged")

    usual = workspace.store.put
    monkeypatch.setattr(
        workspace.store,
        "put",
        lambda key, *given: fail() if "checkpoints" in key else usual(key, *given),
    )
    ticks: list[Tick] = []

    def on_tick(tick: Tick) -> None:
        failed.wait(10)
        ticks.append(tick)

    train(workspace, "r", "linear", on_tick=on_tick)
    assert ticks[-1].failed_checkpoints > 0


class _Killed(Exception):
    pass


def kill_after(epoch: int) -> Callable[[Tick], None]:
    def on_tick(tick: Tick) -> None:
        if tick.done == epoch:
            raise _Killed

    return on_tick


@pytest.mark.parametrize("network", ["linear", "resnet"])
def test_a_resumed_training_ends_in_the_same_bundle(
    network: str, planned: Callable[..., Workspace], tmp_path: Path
) -> None:
    unbroken = train(planned(network=network), "r", network)
    workspace = planned(into=Workspace(keep_every_epoch(tmp_path)), network=network)
    with pytest.raises(_Killed):
        train(workspace, "r", network, on_tick=kill_after(2))
    ticks: list[Tick] = []
    resumed = train(workspace, "r", network, on_tick=ticks.append)
    assert resumed.resumed_from == 4 - len(ticks)
    assert resumed.resumed_from in (1, 2)
    assert list_digests(resumed) == list_digests(unbroken)
    assert [metrics.epoch for metrics in resumed.history] == [1, 2, 3, 4]


def test_a_checkpoint_of_another_configuration_is_ignored(
    planned: Callable[..., Workspace], tmp_path: Path
) -> None:
    workspace = planned(into=Workspace(keep_every_epoch(tmp_path)))
    with pytest.raises(_Killed):
        train(workspace, "r", "linear", on_tick=kill_after(3))
    workspace.store.delete(keys.run("r", "plan.json"))
    put_plan(workspace, "r", learning_rate=0.03)
    assert train(workspace, "r", "linear").resumed_from is None


def keep_every_epoch(tmp_path: Path) -> Settings:
    return Settings(
        store=(tmp_path / "eager").as_uri(), cache=tmp_path / "cache", checkpoint_seconds=0
    )


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_leaves_a_checkpoint_and_the_handlers_as_they_were(
    name: str, planned: Callable[..., Workspace]
) -> None:
    workspace, number = planned(), getattr(signal, name)
    before = signal.getsignal(number)

    def on_tick(tick: Tick) -> None:
        if tick.done == 2:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=name):
        train(workspace, "r", "linear", on_tick=on_tick)
    assert signal.getsignal(number) is before
    assert train(workspace, "r", "linear").resumed_from == 2


def test_a_process_that_gets_sigterm_exits_with_75_within_seconds_and_a_retry_resumes(
    planned: Callable[..., Workspace],
) -> None:
    workspace = planned(epochs=10_000)
    command = [sys.executable, "-m", "mftasks", "train", "--run-id", "r", "--network", "linear"]
    environment = {
        **os.environ,
        "MF_STORE": workspace.store.uri,
        "MF_CACHE": str(workspace.cache.folder),
        "MF_PROGRESS": "json",
    }
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(3)]
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=5)
    assert all(line.startswith(b'{"work"') for line in lines)
    assert child.returncode == Interrupted.exit_code
    (key,) = workspace.store.list(keys.network("r", "linear", "checkpoints/"))
    assert key.endswith(".checkpoint")
    assert workspace.find(keys.network("r", "linear", "train.json"), TrainResult) is None


def test_a_training_to_which_nobody_listens_any_more_leaves_a_checkpoint(
    planned: Callable[..., Workspace],
) -> None:
    workspace = planned(epochs=10_000)
    with subprocess.Popen(
        [sys.executable, "-m", "mftasks", "train", "--run-id", "r", "--network", "linear"],
        cwd=ROOT,
        env=make_environment(workspace),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(30) != 0
    assert len(workspace.store.list(keys.network("r", "linear", "checkpoints/"))) == 1
