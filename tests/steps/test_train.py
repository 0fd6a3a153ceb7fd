from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mftasks import bundle, progress
from mftasks.data.arrays import Part, Vocabulary, read_part, to_npz
from mftasks.devices import leases
from mftasks.devices.gpus import Device
from mftasks.errors import (
    ChecksumMismatch,
    Interrupted,
    MissingRecord,
    NoDeviceFree,
    OutOfMemory,
    StoreUnavailable,
    UnknownNetwork,
)
from mftasks.progress import Tick
from mftasks.records import PartSize, RunPlan, SplitConfig, SplitRef, TrainConfig, TrainResult
from mftasks.scoring.errors import pooled
from mftasks.settings import Settings
from mftasks.steps.train import train
from mftasks.store import keys
from mftasks.store.workspace import Workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture
def planned(workspace: Workspace, tiny_ratings: Part) -> Callable[..., Workspace]:
    """Give a function that puts plan and split of the tiny matrix into a workspace."""

    def put(run_id: str = "r", into: Workspace = workspace, **changes: Any) -> Workspace:
        put_plan(into, run_id, **changes)
        put_split(into, run_id, tiny_ratings)
        return into

    return put


def put_plan(workspace: Workspace, run_id: str, devices: int = 1, **changes: Any) -> None:
    given = {"network": "linear", "epochs": 4, "batch_size": 64, "learning_rate": 0.02}
    config = TrainConfig(**{**given, "params": {"factors": 8}, **changes})
    plan = RunPlan(
        run_id=run_id,
        dataset="tiny",
        split=SplitConfig(strategy="hash"),
        trainings=(config,),
        devices=devices,
        created_at=datetime.now(UTC),
        code_version="1",
    )
    workspace.write(keys.run(run_id, "plan.json"), plan)


def put_split(workspace: Workspace, run_id: str, ratings: Part) -> None:
    held = (np.arange(len(ratings.ratings)) % 5 == 0) | (ratings.users == 7)
    parts = {
        "train": Part(*(array[~held] for array in ratings)),
        "valid": Part(*(array[held] for array in ratings)),
    }
    parts["valid"].users[parts["valid"].users == 7] = -1
    vocabulary = Vocabulary(np.arange(60) + 100, np.arange(40) + 500)
    put = workspace.put_blob
    split = SplitRef(
        config=SplitConfig(strategy="hash"),
        dataset_sha256="d",
        fingerprint="f",
        parts={name: put(f"splits/f/{name}.npz", to_npz(part)) for name, part in parts.items()},
        vocabulary=put("splits/f/vocabulary.npz", to_npz(vocabulary)),
        sizes={
            name: PartSize(n_ratings=len(part.ratings), n_users=60, n_items=40)
            for name, part in parts.items()
        },
        mean_rating=float(parts["train"].ratings.mean()),
        min_rating=1.0,
        max_rating=5.0,
    )
    workspace.write(keys.run(run_id, "split.json"), split)


def digests(result: TrainResult) -> dict[str, str]:
    return {name: ref.sha256 for name, ref in result.bundle.files.items()}


def test_a_training_leaves_a_bundle_and_a_result(planned: Callable[..., Workspace]) -> None:
    workspace, ticks = planned(), list[Tick]()
    result = train(workspace, "r", "linear", on_tick=ticks.append)
    assert [tick.done for tick in ticks] == [1, 2, 3, 4]
    assert {(tick.work, tick.total, tick.device) for tick in ticks} == {
        ("train linear", 4, result.device)
    }
    assert tuple(tick.epoch for tick in ticks) == result.history
    assert (result.stopped, result.resumed_from) == ("completed", None)
    assert 0 < result.cpu_seconds < 60
    assert result.peak_rss_bytes > 50e6
    assert result.formula.startswith("The linear network")
    assert result.architecture is not None
    files = {name: workspace.fetch(ref) for name, ref in result.bundle.files.items()}
    assert set(files) == set(bundle.FILES)
    predicted = bundle.read(files).predict([100, 101], [500, 501])
    assert ((predicted >= 1) & (predicted <= 5)).all()


def test_the_bundle_has_the_weights_of_the_best_epoch(planned: Callable[..., Workspace]) -> None:
    workspace = planned(epochs=5, learning_rate=0.2, params={"factors": 32})
    result = train(workspace, "r", "linear")
    best = result.history[result.best_epoch - 1]
    assert result.best_epoch < 5
    split = workspace.read(keys.run("r", "split.json"), SplitRef)
    valid = read_part(workspace.fetch(split.parts["valid"]))
    files = {name: workspace.fetch(ref) for name, ref in result.bundle.files.items()}
    predicted = bundle.read(files).predict_at(valid.users, valid.items)
    assert pooled(predicted, valid.ratings).rmse == pytest.approx(best.valid_rmse, abs=1e-6)


def test_training_twice_changes_nothing_and_says_so(
    planned: Callable[..., Workspace], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    workspace, ticks = planned(), list[Tick]()
    first = train(workspace, "r", "linear")
    caplog.clear()
    assert train(workspace, "r", "linear", on_tick=ticks.append) == first
    assert ticks == []
    assert caplog.messages == [
        "runs/r/linear/train.json exists: nothing to do; only a new run does it again"
    ]


def test_files_of_an_attempt_that_ended_before_its_result_are_replaced(
    planned: Callable[..., Workspace],
) -> None:
    workspace = planned()
    for name in bundle.FILES:
        workspace.store.put(keys.network("r", "linear", f"bundle/{name}"), b"by other code", "")
    result = train(workspace, "r", "linear")
    files = {name: workspace.fetch(ref) for name, ref in result.bundle.files.items()}
    assert bundle.read(files).header.network == "linear"


def test_a_result_that_another_attempt_has_put_meanwhile_is_returned_and_its_bundle_kept(
    planned: Callable[..., Workspace],
) -> None:
    workspace = planned()
    first = train(workspace, "r", "linear")
    key = keys.network("r", "linear", "train.json")
    record = workspace.store.get(key)
    workspace.store.delete(key)
    model = keys.network("r", "linear", "bundle/model-0000.params")

    def on_tick(tick: Tick) -> None:
        if tick.done == 4:
            workspace.store.put(key, record, "")
            workspace.store.put(model, b"of the other attempt", "")

    assert train(workspace, "r", "linear", on_tick=on_tick) == first
    assert workspace.store.get(model) == b"of the other attempt"


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


def test_the_cpu_seconds_include_the_import_of_mxnet_which_prints_nothing(
    planned: Callable[..., Workspace],
) -> None:
    workspace = planned(epochs=1)
    script = """
import sys, time
from mftasks import settings
from mftasks.steps.train import train
from mftasks.store.workspace import Workspace
assert "mxnet" not in sys.modules
began = time.process_time()
result = train(Workspace(settings.read()), "r", "linear")
print(result.cpu_seconds / (time.process_time() - began))
"""
    asked = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(workspace),
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0.6 < float(asked.stdout) <= 1
    assert asked.stderr == ""


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
    workspace = planned(into=Workspace(eager_settings(tmp_path)))
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


def test_the_same_seed_gives_identical_bundles(planned: Callable[..., Workspace]) -> None:
    results = [train(planned(run_id), run_id, "linear") for run_id in ("one", "two")]
    assert digests(results[0]) == digests(results[1])
    other = train(planned("three", seed=1), "three", "linear")
    assert digests(other)["model-0000.params"] != digests(results[0])["model-0000.params"]


class _Killed(Exception):
    pass


def killed_after(epoch: int) -> Callable[[Tick], None]:
    def on_tick(tick: Tick) -> None:
        if tick.done == epoch:
            raise _Killed

    return on_tick


@pytest.mark.parametrize("network", ["linear", "resnet"])
def test_a_resumed_training_ends_in_the_same_bundle(
    network: str, planned: Callable[..., Workspace], tmp_path: Path
) -> None:
    unbroken = train(planned(network=network), "r", network)
    workspace = planned(into=Workspace(eager_settings(tmp_path)), network=network)
    with pytest.raises(_Killed):
        train(workspace, "r", network, on_tick=killed_after(2))
    ticks: list[Tick] = []
    resumed = train(workspace, "r", network, on_tick=ticks.append)
    assert resumed.resumed_from == 4 - len(ticks)
    assert resumed.resumed_from in (1, 2)
    assert digests(resumed) == digests(unbroken)
    assert [metrics.epoch for metrics in resumed.history] == [1, 2, 3, 4]


def test_a_checkpoint_of_another_configuration_is_ignored(
    planned: Callable[..., Workspace], tmp_path: Path
) -> None:
    workspace = planned(into=Workspace(eager_settings(tmp_path)))
    with pytest.raises(_Killed):
        train(workspace, "r", "linear", on_tick=killed_after(3))
    workspace.store.delete(keys.run("r", "plan.json"))
    put_plan(workspace, "r", learning_rate=0.03)
    assert train(workspace, "r", "linear").resumed_from is None


def eager_settings(tmp_path: Path) -> Settings:
    return Settings(
        store=(tmp_path / "eager").as_uri(), cache=tmp_path / "cache", checkpoint_seconds=0
    )


def test_a_run_without_a_split_and_a_network_outside_the_plan_are_refused(
    workspace: Workspace, planned: Callable[..., Workspace]
) -> None:
    with pytest.raises(MissingRecord, match=r"plan\.json"):
        train(workspace, "r", "linear")
    put_plan(workspace, "r")
    with pytest.raises(MissingRecord, match=r"split\.json"):
        train(workspace, "r", "linear")
    with pytest.raises(UnknownNetwork, match="'r' does not train 'mlp'"):
        train(planned("s"), "r", "mlp")


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


def test_it_trains_on_as_many_devices_as_the_plan_says(planned: Callable[..., Workspace]) -> None:
    ticks: list[Tick] = []
    shared = train(planned("two", devices=2), "two", "linear", on_tick=ticks.append)
    alone = train(planned("one"), "one", "linear")
    assert (alone.device, shared.device) == ("cpu", "2 × cpu")
    assert {tick.device for tick in ticks} == {"2 × cpu"}
    for one, other in zip(shared.history, alone.history, strict=True):
        assert one.valid_rmse == pytest.approx(other.valid_rmse, abs=1e-5)


def test_a_tick_has_what_a_person_wants_to_know(planned: Callable[..., Workspace]) -> None:
    ticks: list[Tick] = []
    result = train(planned(), "r", "linear", on_tick=ticks.append)
    assert [(tick.done, tick.total, tick.unit) for tick in ticks] == [
        (epoch, 4, "epochs") for epoch in (1, 2, 3, 4)
    ]
    assert ticks[-1].seconds_left == 0
    assert ticks[0].seconds_left == pytest.approx(3 * ticks[0].epoch.seconds)
    assert 50_000_000 < ticks[-1].peak_rss_bytes <= result.peak_rss_bytes


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
            env=environment(workspace) | variables,
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
        env=environment(workspace),
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == OutOfMemory.exit_code, asked.stderr
    assert re.search(r"OutOfMemory: .*lower batch_size, factors or hidden", asked.stderr)
    assert workspace.store.list(keys.network("r", "resnet", "")) == []


def environment(workspace: Workspace) -> dict[str, str]:
    store, cache = workspace.settings.store, str(workspace.settings.cache)
    return os.environ | {"MF_STORE": store, "MF_CACHE": cache, "MF_PROGRESS": "json"}


def test_a_training_to_which_nobody_listens_any_more_leaves_a_checkpoint(
    planned: Callable[..., Workspace],
) -> None:
    workspace = planned(epochs=10_000)
    with subprocess.Popen(
        [sys.executable, "-m", "mftasks", "train", "--run-id", "r", "--network", "linear"],
        cwd=ROOT,
        env=environment(workspace),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(30) != 0
    assert len(workspace.store.list(keys.network("r", "linear", "checkpoints/"))) == 1


def test_a_store_that_is_away_in_the_end_is_waited_for(
    planned: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = planned()
    put, put_if_absent = workspace.store.put, workspace.store.put_if_absent
    failures = iter(range(3))

    def away_at_first(key: str, *given: Any) -> None:
        if "bundle" in key and next(failures, None) is not None:
            raise StoreUnavailable("away")
        put(key, *given)

    results = iter(range(3))

    def away_then(*given: Any) -> bool:
        if next(results, None) is not None:
            raise StoreUnavailable("away")
        return put_if_absent(*given)

    monkeypatch.setattr(workspace.store, "put", away_at_first)
    monkeypatch.setattr(workspace.store, "put_if_absent", away_then)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    ticks: list[Tick] = []
    result = train(workspace, "r", "linear", on_tick=ticks.append)
    assert len(ticks) == 4
    assert next(failures, None) is next(results, None) is None
    assert workspace.read(keys.network("r", "linear", "train.json"), TrainResult) == result
