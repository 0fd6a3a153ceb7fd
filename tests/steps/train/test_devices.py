from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mftasks import progress
from mftasks.devices import leases
from mftasks.devices.gpus import Device
from mftasks.errors import (
    Interrupted,
    NoDeviceFree,
    OutOfMemory,
)
from mftasks.progress import Tick
from mftasks.settings import Settings
from mftasks.steps.train import train
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.steps.train.trainings import ROOT, make_environment


def test_it_trains_on_as_many_devices_as_the_plan_says(planned: Callable[..., Workspace]) -> None:
    ticks: list[Tick] = []
    shared = train(planned("two", devices=2), "two", "linear", on_tick=ticks.append)
    alone = train(planned("one"), "one", "linear")
    assert (alone.device, shared.device) == ("cpu", "2 × cpu")
    assert {tick.device for tick in ticks} == {"2 × cpu"}
    for one, other in zip(shared.history, alone.history, strict=True):
        assert one.valid_rmse == pytest.approx(other.valid_rmse, abs=1e-5)


def test_a_device_is_held_only_while_the_network_trains(
    planned: Callable[..., Workspace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        store=(tmp_path / "one").as_uri(),
        cache=tmp_path / "cache",
        cpu_slots=1,
        checkpoint_seconds=3600,
        leases=tmp_path / "leases",
    )
    workspace = planned(into=Workspace(settings))
    used: list[str] = []

    def when_free(name: str) -> Callable[..., Any]:
        usual = getattr(workspace.store, name)

        def use(*given: Any) -> Any:
            assert can_lease(settings), f"{name} while the device is held"
            used.append(name)
            return usual(*given)

        return use

    for name in ("get", "download", "list", "put", "put_if_absent"):
        monkeypatch.setattr(workspace.store, name, when_free(name))
    ticks: list[Tick] = []

    def on_tick(tick: Tick) -> None:
        assert not can_lease(settings)
        ticks.append(tick)

    train(workspace, "r", "linear", on_tick=on_tick)
    assert len(ticks) == 4
    assert {"get", "download", "list", "put", "put_if_absent"} == set(used)


def can_lease(settings: Settings) -> bool:
    """Return whether the one CPU slot is free."""
    cpu = [Device("cpu", "0", "cpu")]
    try:
        with leases.lease(cpu, 1, folder=settings.leases, holder="a test", wait_seconds=0):
            return True
    except NoDeviceFree:
        return False


def test_it_waits_for_a_device_that_is_held_and_says_by_whom(
    planned: Callable[..., Workspace], tmp_path: Path
) -> None:
    settings = Settings(
        store=(tmp_path / "one").as_uri(),
        cache=tmp_path / "cache",
        cpu_slots=1,
        device_wait_seconds=0.5,
        leases=tmp_path / "leases",
    )
    workspace = planned(into=Workspace(settings))
    cpu = [Device("cpu", "0", "cpu")]
    ticks: list[Tick] = []
    with (
        leases.lease(cpu, 1, folder=settings.leases, holder="train mlp of s"),
        pytest.raises(NoDeviceFree, match=r"cpu 0 is held by train mlp of s"),
    ):
        train(workspace, "r", "linear", on_tick=ticks.append)
    (tick,) = ticks
    assert (tick.work, tick.done, tick.total) == ("train linear", 0, 4)
    assert tick.waiting_for.startswith("1 of 1 devices: cpu 0 is held by train mlp of s (process ")
    assert train(workspace, "r", "linear").device == "cpu"


def test_a_process_that_waits_for_a_device_exits_with_75_on_sigterm(
    planned: Callable[..., Workspace], tmp_path: Path
) -> None:
    workspace = planned()
    folder = tmp_path / "leases"
    variables = {"MF_LEASES": str(folder), "MF_CPU_SLOTS": "1", "MF_DEVICE_WAIT_SECONDS": ""}
    cpu = [Device("cpu", "0", "cpu")]
    with (
        leases.lease(cpu, 1, folder=folder, holder="train mlp of s"),
        subprocess.Popen(
            [sys.executable, "-m", "mftasks", "train", "--run-id", "r", "--network", "linear"],
            cwd=ROOT,
            env=make_environment(workspace) | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as child,
    ):
        tick = progress.parse(child.stdout.readline())
        assert "held by train mlp of s" in tick.waiting_for
        child.terminate()
        assert child.wait(30) == Interrupted.exit_code


def test_a_training_that_needs_more_memory_than_there_is_says_what_to_change(
    planned: Callable[..., Workspace],
) -> None:
    workspace = planned(network="resnet", params={"factors": 4096, "hidden": 4096})
    limited = (
        f"ulimit -v 1500000; exec {sys.executable} -m mftasks train --run-id r --network resnet"
    )
    asked = subprocess.run(
        ["sh", "-c", limited],
        cwd=ROOT,
        env=make_environment(workspace),
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == OutOfMemory.exit_code, asked.stderr
    assert re.search(r"OutOfMemory: .*lower batch_size, factors or hidden", asked.stderr)
    assert workspace.store.list(keys.network("r", "resnet", "")) == []
