from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from mftasks import bundle, progress
from mftasks.data.arrays import read_part
from mftasks.errors import ChecksumMismatch, MissingRecord, OutOfMemory
from mftasks.records import Evaluation, SplitRef, TrainResult
from mftasks.steps.evaluate import evaluate
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.finished_run import RUN, evaluated_run

KEY = keys.network(RUN, "mlp", "evaluation.json")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return evaluated_run(tmp_path)


@pytest.fixture
def evaluation(workspace: Workspace) -> Evaluation:
    return workspace.read(KEY, Evaluation)


def errors_of_the_bundle(workspace: Workspace) -> np.ndarray:
    """Return rating − predicted over the test part, computed here from the bundle's own files."""
    split = workspace.read(keys.run(RUN, "split.json"), SplitRef)
    test = read_part(workspace.fetch(split.parts["test"]))
    loaded = bundle.load(f"{workspace.store.uri}/{keys.network(RUN, 'mlp', 'bundle')}")
    return test.ratings - loaded.predict_at(test.users, test.items).astype(np.float64)


def test_the_figures_are_those_of_the_exported_bundle(
    workspace: Workspace, evaluation: Evaluation
) -> None:
    errors = errors_of_the_bundle(workspace)
    assert evaluation.n_ratings == len(errors)
    assert evaluation.rmse == pytest.approx(np.sqrt(np.mean(errors**2)), abs=1e-9)
    assert evaluation.mae == pytest.approx(np.mean(np.abs(errors)), abs=1e-9)


def test_intervals_hold_their_figures(evaluation: Evaluation) -> None:
    for figure, interval in (
        (evaluation.rmse, evaluation.rmse_interval),
        (evaluation.mae, evaluation.mae_interval),
    ):
        assert interval is not None
        assert figure == interval.value
        assert interval.low < figure < interval.high
    assert evaluation.gain is not None
    best = min(evaluation.baselines.values())
    assert evaluation.gain.value == pytest.approx(best - evaluation.rmse)


def test_both_baselines_are_scored(evaluation: Evaluation) -> None:
    assert set(evaluation.baselines) == {"mean", "biases"}


def test_every_test_rating_is_in_one_group_and_one_bin(evaluation: Evaluation) -> None:
    for groups in (evaluation.by_rating, evaluation.by_activity, evaluation.by_novelty):
        assert sum(group.n_ratings for group in groups) == evaluation.n_ratings
        pooled = sum(group.rmse**2 * group.n_ratings for group in groups) / evaluation.n_ratings
        assert pooled**0.5 == pytest.approx(evaluation.rmse)
    assert sum(evaluation.residuals.counts) == evaluation.n_ratings


def test_a_shortage_of_memory_is_explained_as_such(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    workspace.store.delete(KEY)
    monkeypatch.setattr(bundle, "read", fail)
    with pytest.raises(OutOfMemory, match="MemoryError; lower batch_size"):
        evaluate(workspace, RUN, "mlp")
    assert not workspace.store.exists(KEY)


def test_evaluating_again_gives_the_same_record(
    workspace: Workspace, evaluation: Evaluation
) -> None:
    workspace.store.delete(KEY)
    assert evaluate(workspace, RUN, "mlp") == evaluation


def test_an_existing_evaluation_is_returned_as_it_is(workspace: Workspace) -> None:
    workspace.store.delete(keys.network(RUN, "mlp", "bundle/model-0000.params"))
    assert evaluate(workspace, RUN, "mlp").network == "mlp"


def test_an_altered_bundle_is_refused(workspace: Workspace) -> None:
    workspace.store.delete(KEY)
    key = keys.network(RUN, "mlp", "bundle/model-0000.params")
    workspace.store.put(key, b"something else", "application/octet-stream")
    with pytest.raises(ChecksumMismatch, match=r"model-0000\.params has sha256"):
        evaluate(workspace, RUN, "mlp")
    assert not workspace.store.exists(KEY)


def test_a_network_that_is_not_trained_cannot_be_evaluated(workspace: Workspace) -> None:
    with pytest.raises(MissingRecord, match=r"resnet/train\.json is not there"):
        evaluate(workspace, RUN, "resnet")


def test_unseen_ids_are_scored_by_fallback_and_counted(workspace: Workspace) -> None:
    split = workspace.read(keys.run(RUN, "split.json"), SplitRef)
    test = read_part(workspace.fetch(split.parts["test"]))
    users, items = test.users.copy(), test.items.copy()
    users[:10], items[5:12] = -1 - np.arange(10) * 40, -90
    from mftasks.data.arrays import to_npz

    blob = workspace.put_blob(
        "splits/other/test.npz", to_npz(test._replace(users=users, items=items))
    )
    changed = msgspec.structs.replace(split, parts={**split.parts, "test": blob})
    workspace.store.put(
        keys.run(RUN, "split.json"), msgspec.json.encode(changed), "application/json"
    )
    workspace.store.delete(KEY)
    evaluation = evaluate(workspace, RUN, "mlp")
    assert evaluation.n_fallback == 12
    assert [(group.label, group.n_ratings) for group in evaluation.by_novelty] == [
        *(("known", evaluation.n_ratings - 12), ("new user", 5), ("new item", 2), ("both new", 5))
    ]
    assert evaluation.warm == evaluation.by_novelty[0]
    assert evaluation.cold is not None
    pooled = sum(group.n_ratings * group.rmse**2 for group in evaluation.by_novelty[1:]) / 12
    assert (evaluation.cold.n_ratings, evaluation.cold.rmse) == (12, pytest.approx(pooled**0.5))
    assert (evaluation.by_activity[0].label, evaluation.by_activity[0].n_ratings) == ("unseen", 10)


def test_ticks_count_the_ratings_that_are_scored(workspace: Workspace) -> None:
    ticks: list[progress.Tick] = []
    workspace.store.delete(KEY)
    evaluation = evaluate(workspace, RUN, "mlp", on_tick=ticks.append)
    assert [(tick.work, tick.done) for tick in ticks] == [("evaluate mlp", evaluation.n_ratings)]


def test_the_evaluation_names_the_bundle_that_was_trained(
    workspace: Workspace, evaluation: Evaluation
) -> None:
    result = workspace.read(keys.network(RUN, "mlp", "train.json"), TrainResult)
    assert evaluation.bundle == result.bundle
    assert evaluation.split_fingerprint == result.split_fingerprint
