from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mftasks import bundle
from mftasks.data.arrays import read_part
from mftasks.errors import (
    MissingRecord,
    StoreUnavailable,
    UnknownNetwork,
)
from mftasks.progress import Tick
from mftasks.records import SplitRef, TrainResult
from mftasks.scoring.errors import pool_rmse
from mftasks.steps.train import train
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.steps.train.trainings import ROOT, list_digests, make_environment, put_plan


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
    assert pool_rmse(predicted, valid.ratings) == pytest.approx(best.valid_rmse, abs=1e-6)


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
        env=make_environment(workspace),
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0.6 < float(asked.stdout) <= 1
    assert asked.stderr == ""


def test_the_same_seed_gives_identical_bundles(planned: Callable[..., Workspace]) -> None:
    results = [train(planned(run_id), run_id, "linear") for run_id in ("one", "two")]
    assert list_digests(results[0]) == list_digests(results[1])
    other = train(planned("three", seed=1), "three", "linear")
    assert list_digests(other)["model-0000.params"] != list_digests(results[0])["model-0000.params"]


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


def test_a_tick_has_what_a_person_wants_to_know(planned: Callable[..., Workspace]) -> None:
    ticks: list[Tick] = []
    result = train(planned(), "r", "linear", on_tick=ticks.append)
    assert [(tick.done, tick.total, tick.unit) for tick in ticks] == [
        (epoch, 4, "epochs") for epoch in (1, 2, 3, 4)
    ]
    assert ticks[-1].seconds_left == 0
    assert ticks[0].seconds_left == pytest.approx(3 * ticks[0].epoch.seconds)
    assert 50_000_000 < ticks[-1].peak_rss_bytes <= result.peak_rss_bytes


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
