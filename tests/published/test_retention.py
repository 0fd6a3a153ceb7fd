from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mftasks import published
from mftasks.data import catalog
from mftasks.store.workspace import Workspace
from tests.finished_run import RUN, published_run
from tests.published.stored_runs import (
    OLD,
    age,
    prune_older,
    put,
    put_run,
    put_unpublished,
    row_of,
)

ROOT = Path(__file__).parents[2]


def test_old_runs_go_with_the_data_and_splits_that_only_they_use(workspace: Workspace) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "older", OLD + 9, data="shared")
    put_unpublished(workspace, "failed", 5, data="shared")
    put_run(workspace, "new", 5, data="b")
    put(workspace, OLD, "champions/.note", "other/thing", "report.txt")
    age(workspace, ["splits/b/train.npz", "datasets/shared/ratings.csv"], OLD)

    assert prune_older(workspace) == ["runs/old", "runs/older", "datasets/a", "splits/a"]
    kept = workspace.store.list("")
    assert {"/".join(key.split("/")[:2]) for key in kept} == {
        *("runs/new", "runs/failed", "datasets/b", "datasets/shared", "splits/b"),
        *("splits/shared", "index/films", "champions/.note", "other/thing", "report.txt"),
    }
    assert prune_older(workspace) == []


def test_the_newest_published_run_of_each_data_set_stays(workspace: Workspace) -> None:
    put_run(workspace, "first", OLD + 1, data="a", name="films")
    put_run(workspace, "last", OLD, data="a", name="films")
    put_run(workspace, "books", OLD + 50, data="b", name="books")
    assert prune_older(workspace) == ["runs/first"]
    assert not row_of(workspace, "first")


def test_files_of_one_name_in_two_places_are_two_data_sets(workspace: Workspace) -> None:
    for run, uri in (("shop", "s3://shop/ratings.csv"), ("films", "s3://films/ratings.csv")):
        put_run(workspace, run, OLD, data=run, name=catalog.identify(uri))
    assert prune_older(workspace) == []


def test_a_run_whose_row_is_lost_or_broken_is_still_the_newest(workspace: Workspace) -> None:
    put_run(workspace, "first", OLD + 1, data="a")
    put_run(workspace, "last", OLD, data="b")
    put_run(workspace, "books", OLD, data="c", name="books")
    [lost], [broken] = row_of(workspace, "last"), row_of(workspace, "books")
    workspace.store.delete(lost)
    workspace.store.put(broken, b"{", "application/json")
    assert prune_older(workspace) == ["runs/first", "datasets/a", "splits/a"]
    assert row_of(workspace, "last") == [lost]


@pytest.mark.parametrize("content", [{"schema_version": 99}, "rubbish"])
def test_a_run_whose_manifest_cannot_be_read_stays_and_others_go(
    workspace: Workspace, content: object
) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "newer", OLD, data="b")
    put_run(workspace, "last", OLD - 1, data="c")
    put(workspace, OLD, "runs/newer/manifest.json", data=content)
    workspace.store.delete_many(row_of(workspace, "newer"))
    assert prune_older(workspace) == ["runs/old", "datasets/a", "splits/a"]
    assert prune_older(workspace) == []


def test_nothing_goes_from_a_store_that_lists_data_but_no_run(workspace: Workspace, caplog) -> None:
    put(workspace, OLD, "datasets/a/ratings.csv", "splits/a/split.json")
    assert prune_older(workspace) == []
    assert "lists data but no run: nothing is removed" in caplog.text


def test_a_run_of_which_anything_is_young_stays_as_it_may_be_running(workspace: Workspace) -> None:
    put(workspace, OLD, "runs/long/plan.json", "runs/long/mlp/checkpoints/00001.checkpoint")
    put(workspace, 89, "runs/long/mlp/checkpoints/00002.checkpoint")
    assert prune_older(workspace) == []


def test_a_run_that_waits_in_a_queue_for_days_stays_though_published_ones_of_its_age_go(
    workspace: Workspace,
) -> None:
    put_unpublished(workspace, "waiting", 7, data="a")
    put_run(workspace, "old", 7, data="b")
    put_run(workspace, "new", 1, data="c")
    assert prune_older(workspace, days=2) == ["runs/old", "datasets/b", "splits/b"]
    age(workspace, workspace.store.list("runs/waiting/"), 9)
    assert prune_older(workspace, days=2) == ["runs/waiting", "datasets/a", "splits/a"]


def test_an_unfinished_run_goes_at_the_same_age_with_its_checkpoints(workspace: Workspace) -> None:
    put(workspace, OLD, "runs/dead/plan.json", "runs/dead/mlp/checkpoints/00001.checkpoint")
    assert prune_older(workspace) == ["runs/dead"]
    assert workspace.store.list("") == []


def test_a_dry_run_returns_the_same_and_changes_nothing(workspace: Workspace) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", 1, data="b")
    put_run(workspace, "lost", 2, data="c")
    put_run(workspace, "broken", OLD, data="d")
    put_run(workspace, "gone", OLD, data="e")
    workspace.store.delete_many(row_of(workspace, "lost"))
    put(workspace, OLD, *row_of(workspace, "broken"))
    workspace.store.delete("runs/gone/manifest.json")
    before = workspace.store.list_with_times("")
    planned = prune_older(workspace, dry_run=True)
    assert workspace.store.list_with_times("") == before
    assert planned == prune_older(workspace)


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


def test_on_s3_a_real_run_stays_whole_and_its_forerunner_goes(
    s3_workspace: Workspace, tmp_path: Path
) -> None:
    local = published_run(tmp_path / "run").store
    for key in local.list(""):
        s3_workspace.store.put(key, local.get(key), "application/octet-stream")
        if key.startswith("runs/"):
            older = key.replace(f"/{RUN}/", "/older/")
            data = local.get(key).replace(b'"published_at": "2', b'"published_at": "1')
            data = data.replace(f'"run_id": "{RUN}"'.encode(), b'"run_id": "older"')
            s3_workspace.store.put(older, data, "application/octet-stream")
    s3_workspace.store.put("datasets/unused/ratings.csv", b"", "text/csv")

    assert prune_older(s3_workspace, days=-1) == ["runs/older", "datasets/unused"]
    assert s3_workspace.store.list("") == local.list("")
    run = published.open_run(s3_workspace)
    assert run.manifest.run_id == RUN
    assert len(run.bundle().predict([1, 2], [3, 4])) == 2


def test_the_command_lists_what_it_removes_and_how_large_it_was(workspace: Workspace) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", 1, data="b")
    put(workspace, OLD, "runs/old/big", data="x" * 2_500_000)

    listed = command(workspace, "--dry-run")
    assert "runs/old: 6 objects, 2.5 MB, last changed 20" in listed
    assert "would remove: 3 folders, 2.5 MB" in listed
    assert "removed: 3 folders, 2.5 MB" in command(workspace)
    assert "removed: 0 folders, 0.0 MB" in command(workspace)


def command(workspace: Workspace, *options: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "mftasks", "prune", "--days", "90", *options],
        env=os.environ | {"MF_STORE": workspace.store.uri, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout
