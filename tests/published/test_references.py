from __future__ import annotations

from mftasks.store.workspace import Workspace
from tests.published.stored_runs import (
    OLD,
    prune_older,
    put,
    put_run,
    put_unpublished,
)


def test_data_stay_while_a_run_has_a_record_that_cannot_be_read(
    workspace: Workspace, caplog
) -> None:
    put_unpublished(workspace, "unreadable", 5, data="a")
    put(workspace, 5, "runs/unreadable/split.json", data={"later": "format"})
    put(workspace, OLD, "datasets/b/ratings.csv")
    assert prune_older(workspace) == []
    assert "data and splits stay this time: runs/unreadable/split.json" in caplog.text


def test_data_and_splits_that_were_just_put_stay(workspace: Workspace) -> None:
    put_run(workspace, "new", 2, data="c")
    put(workspace, 1, "datasets/new/ratings.csv", "splits/new/split.json")
    put(workspace, OLD, "datasets/old/ratings.csv", "splits/mixed/split.json")
    put(workspace, 1, "splits/mixed/test.npz")
    assert prune_older(workspace) == ["datasets/old"]


def test_data_stay_while_a_run_has_not_chosen_its_own(workspace: Workspace) -> None:
    put(workspace, OLD, "datasets/old/ratings.csv", "runs/dead/plan.json")
    put(workspace, 0.01, "runs/begun/plan.json")
    assert prune_older(workspace) == ["runs/dead"]
    put(workspace, 2, "runs/begun/plan.json")  # it failed two days ago
    assert prune_older(workspace) == ["datasets/old"]
