from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mftasks import published
from mftasks.errors import InvalidDataset, StoreUnavailable
from mftasks.published.retention import Removal, prune
from mftasks.store.workspace import Workspace
from tests.finished_run import RUN, published_run

AGE = timedelta(days=90)
OLD = 100  # days
ROOT = Path(__file__).parents[2]


def put(workspace: Workspace, days_ago: float, *keys: str, data: object = None) -> None:
    """Put objects that were last changed so many days ago."""
    for key in keys:
        workspace.store.put(key, json.dumps(data).encode(), "application/json")
    age(workspace, keys, days_ago)


def age(workspace: Workspace, keys: Iterable[str], days_ago: float) -> None:
    moment = time.time() - 86_400 * days_ago
    for key in keys:
        os.utime(workspace.store.root / key, (moment, moment))


def put_run(
    workspace: Workspace, run: str, days_ago: float, data: str, name: str = "films"
) -> None:
    """Put the records of a published run on the data set and the split `data`."""
    where = (workspace, days_ago)
    put(
        *where,
        f"datasets/{data}/ratings.csv",
        f"splits/{data}/train.npz",
        f"splits/{data}/split.json",
    )
    put(*where, f"runs/{run}/plan.json", f"runs/{run}/linear/train.json")
    put(
        *where,
        f"runs/{run}/download.json",
        data={"ratings": {"key": f"datasets/{data}/ratings.csv"}},
    )
    put(
        *where,
        f"runs/{run}/split.json",
        data={"parts": {"train": {"key": f"splits/{data}/train.npz"}}},
    )
    moment = datetime.now(UTC) - timedelta(days=days_ago)
    manifest = {"published_at": moment.isoformat(), "dataset": {"name": name}, "later": "field"}
    put(*where, f"runs/{run}/manifest.json", data=manifest)


def folders(removals: list[Removal]) -> list[str]:
    return [removal.folder for removal in removals]


def pruned(workspace: Workspace, **options: bool) -> list[str]:
    return folders(prune(workspace.store, datetime.now(UTC) - AGE, **options))


def test_old_runs_go_with_the_data_and_splits_that_only_they_use(workspace: Workspace) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "older", OLD + 9, data="shared")
    put_run(workspace, "new", 5, data="b")
    put(workspace, 5, "runs/new/download.json", data={"key": "datasets/shared/ratings.csv"})
    put(workspace, OLD, "champions/.note", "other/thing", "report.txt")
    age(workspace, ["splits/b/train.npz"], OLD)

    assert pruned(workspace) == [
        "runs/old",
        "runs/older",
        "datasets/a",
        "splits/a",
        "splits/shared",
    ]
    kept = workspace.store.list("")
    assert {"/".join(key.split("/")[:2]) for key in kept} == {
        *("runs/new", "datasets/b", "datasets/shared", "splits/b", "other/thing", "report.txt"),
    }
    assert pruned(workspace) == []


def test_the_newest_published_run_of_each_data_set_stays(workspace: Workspace) -> None:
    put_run(workspace, "first", OLD + 1, data="a", name="films")
    put_run(workspace, "last", OLD, data="a", name="films")
    put_run(workspace, "books", OLD + 50, data="b", name="books")
    assert pruned(workspace) == ["runs/first"]


def test_a_champion_stays_with_its_data(workspace: Workspace) -> None:
    put_run(workspace, "best", OLD, data="a")
    put_run(workspace, "plain", OLD, data="b")
    put_run(workspace, "new", 1, data="c")
    put(workspace, OLD, "champions/films.json", data={"run_id": "best", "network": "mlp"})
    gone = ["runs/plain", "datasets/b", "splits/b"]
    assert pruned(workspace, dry_run=True) == gone
    assert pruned(workspace) == gone
    assert workspace.store.exists("champions/films.json")


@pytest.mark.parametrize("broken", [{"network": "mlp"}, "best", None])
def test_nothing_goes_where_a_champion_cannot_be_read(workspace: Workspace, broken: object) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", OLD, data="a")
    put(workspace, OLD, "champions/films.json", data=broken)
    before = workspace.store.list("")
    with pytest.raises(InvalidDataset, match=r"champions/films\.json .*nothing is removed"):
        pruned(workspace)
    assert workspace.store.list("") == before


def test_a_run_of_which_anything_is_young_stays_as_it_may_be_running(workspace: Workspace) -> None:
    put(workspace, OLD, "runs/long/plan.json", "runs/long/mlp/checkpoints/00001.checkpoint")
    put(workspace, 89, "runs/long/mlp/checkpoints/00002.checkpoint")
    assert pruned(workspace) == []


def test_an_unfinished_run_goes_at_the_same_age_with_its_checkpoints(workspace: Workspace) -> None:
    put(workspace, OLD, "runs/dead/plan.json", "runs/dead/mlp/checkpoints/00001.checkpoint")
    assert pruned(workspace) == ["runs/dead"]
    assert workspace.store.list("") == []


def test_checkpoints_that_a_publishing_left_go_from_a_run_that_stays(workspace: Workspace) -> None:
    put_run(workspace, "last", OLD, data="a")
    put(workspace, OLD, "runs/last/mlp/checkpoints/00009.checkpoint")
    [removal] = prune(workspace.store, datetime.now(UTC) - AGE)
    assert (removal.kind, removal.folder) == ("checkpoints", "runs/last")
    assert workspace.store.list("runs/last/mlp/") == []
    assert workspace.store.exists("runs/last/manifest.json")


def test_data_and_splits_that_were_just_put_stay(workspace: Workspace) -> None:
    put(workspace, 1, "datasets/new/ratings.csv", "splits/new/split.json")
    put(workspace, OLD, "datasets/old/ratings.csv", "splits/mixed/split.json")
    put(workspace, 1, "splits/mixed/test.npz")
    assert pruned(workspace) == ["datasets/old"]


def test_data_stay_while_a_run_has_not_chosen_its_own(workspace: Workspace) -> None:
    put(workspace, OLD, "datasets/old/ratings.csv", "runs/dead/plan.json")
    put(workspace, 0.01, "runs/begun/plan.json", "runs/begun/download.json")
    assert pruned(workspace) == ["runs/dead"]
    put(workspace, 2, "runs/begun/plan.json", "runs/begun/download.json")  # it failed two days ago
    assert pruned(workspace) == ["datasets/old"]


def test_what_names_a_data_set_goes_before_it(workspace: Workspace) -> None:
    put(
        workspace, OLD, "datasets/a/ratings.csv", "datasets/b/titles.json", "datasets/c/ratings.csv"
    )
    named = {
        "ratings": {"key": "datasets/a/ratings.csv"},
        "titles": {"key": "datasets/b/titles.json"},
    }
    put(workspace, OLD, "datasets/by-name/ml-100k.json", data=named)
    put_run(workspace, "new", 1, data="c")
    put(workspace, 1, "datasets/by-name/ml-1m.json", data={"ratings": {"key": "datasets/c/x"}})

    removals = prune(workspace.store, datetime.now(UTC) - AGE)
    assert removals[0].keys == ("datasets/by-name/ml-100k.json", "datasets/a/ratings.csv")
    assert workspace.store.list("datasets/") == [
        *("datasets/by-name/ml-1m.json", "datasets/c/ratings.csv")
    ]


class Interrupted(Exception):
    pass


class Dying:
    """Be a store that dies after so many objects were deleted."""

    def __init__(self, store: object, deletes: int) -> None:
        self._store = store
        self._left = deletes

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def delete(self, key: str) -> None:
        if self._left == 0:
            raise Interrupted
        self._left -= 1
        self._store.delete(key)

    def delete_many(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.delete(key)


@pytest.mark.parametrize("deletes", range(11))
def test_a_prune_that_dies_anywhere_leaves_nothing_half_and_the_next_one_ends_it(
    workspace: Workspace, deletes: int
) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", 1, data="b")
    whole = {folder: set(workspace.store.list(folder)) for folder in ("runs/old/", "splits/a/")}
    with pytest.raises(Interrupted):
        prune(Dying(workspace.store, deletes), datetime.now(UTC) - AGE)

    for folder, mark in (("runs/old/", "manifest.json"), ("splits/a/", "split.json")):
        left = set(workspace.store.list(folder))
        assert left == whole[folder] or folder + mark not in left
    pruned(workspace)
    assert not [key for key in workspace.store.list("") if "/old/" in key or "/a/" in key]


def test_a_dry_run_tells_the_same_and_changes_nothing(workspace: Workspace) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", 1, data="b")
    before = workspace.store.list_with_times("")
    told = pruned(workspace, dry_run=True)
    assert workspace.store.list_with_times("") == before
    assert told == pruned(workspace)


@pytest.mark.parametrize("what", ["begun again", "champion"])
def test_a_run_that_matters_again_since_it_was_looked_at_stays_with_its_data(
    workspace: Workspace, what: str
) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", 1, data="b")

    class Changing:
        def __getattr__(self, name: str) -> object:
            return getattr(workspace.store, name)

        def list_with_times(self, prefix: str) -> object:
            if prefix == "runs/old/":
                if what == "champion":
                    put(workspace, 0, "champions/films.json", data={"run_id": "old"})
                else:
                    put(workspace, 0, "runs/old/mlp/train.json")
            return workspace.store.list_with_times(prefix)

    before = workspace.store.list("")
    assert prune(Changing(), datetime.now(UTC) - AGE) == []
    assert set(before) <= set(workspace.store.list(""))


def test_on_s3_a_real_run_stays_whole_and_its_forerunner_goes(
    s3_workspace: Workspace, tmp_path: Path
) -> None:
    local = published_run(tmp_path / "run").store
    for key in local.list(""):
        s3_workspace.store.put(key, local.get(key), "application/octet-stream")
        if key.startswith("runs/"):
            older = key.replace(f"/{RUN}/", "/older/")
            data = local.get(key).replace(b'"published_at": "2', b'"published_at": "1')
            s3_workspace.store.put(older, data, "application/octet-stream")
    s3_workspace.store.put("datasets/unused/ratings.csv", b"", "text/csv")

    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert folders(prune(s3_workspace.store, tomorrow)) == ["runs/older", "datasets/unused"]
    assert s3_workspace.store.list("") == local.list("")
    run = published.open_run(s3_workspace)
    assert run.manifest.run_id == RUN
    assert len(run.bundle().predict([1, 2], [3, 4])) == 2


def test_the_command_tells_what_it_removes_and_how_large_it_was(workspace: Workspace) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", 1, data="b")
    put(workspace, OLD, "runs/old/big", data="x" * 2_500_000)

    told = command(workspace, "--dry-run")
    assert "run runs/old: 6 objects, 2.5 MB, last changed 20" in told
    assert "would remove: 3, 2.5 MB" in told
    assert "removed: 3, 2.5 MB" in command(workspace)
    assert "removed: 0, 0.0 MB" in command(workspace)


def command(workspace: Workspace, *options: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "mftasks", "prune", "--days", "90", *options],
        env=os.environ | {"MF_STORE": workspace.store.uri, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout


def test_a_store_that_does_not_answer_is_an_error(workspace: Workspace, monkeypatch) -> None:
    def dead(prefix: str) -> list:
        raise StoreUnavailable("dead")

    monkeypatch.setattr(workspace.store, "list_with_times", dead)
    with pytest.raises(StoreUnavailable):
        prune(workspace.store, datetime.now(UTC))
