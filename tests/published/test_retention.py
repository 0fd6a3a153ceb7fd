from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from mftasks import published
from mftasks.data import catalog
from mftasks.errors import InvalidDataset, StoreUnavailable
from mftasks.published import index
from mftasks.published.champion import find_champions
from mftasks.published.retention import Removal, prune
from mftasks.records import BlobRef, DatasetRef, Manifest, SplitConfig, SplitRef
from mftasks.store.workspace import Workspace
from tests.finished_run import RUN, published_run

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


def blob(key: str) -> BlobRef:
    return BlobRef(key=key, sha256="0", n_bytes=4)


def data_set(name: str, data: str) -> DatasetRef:
    ratings = blob(f"datasets/{data}/ratings.csv")
    return DatasetRef(name=name, source="", format="csv", sha256=data, ratings=ratings)


def split_of(data: str) -> dict[str, object]:
    """Return of the record of a split what retention reads, and what msgspec insists on."""
    return msgspec.to_builtins(
        SplitRef(
            config=SplitConfig(strategy="hash"),
            dataset_sha256=data,
            fingerprint=data,
            parts={"train": blob(f"splits/{data}/train.npz")},
            vocabulary=blob(f"splits/{data}/vocabulary.npz"),
            sizes={},
            mean_rating=3.0,
            min_rating=1.0,
            max_rating=5.0,
        )
    )


def put_unpublished(workspace: Workspace, run: str, days_ago: float, data: str) -> None:
    """Put the records of a run on the data set and the split `data`, and these."""
    where = (workspace, days_ago)
    put(
        *where,
        f"datasets/{data}/ratings.csv",
        f"splits/{data}/train.npz",
        f"splits/{data}/split.json",
    )
    put(*where, f"runs/{run}/plan.json", f"runs/{run}/linear/train.json")
    download = msgspec.to_builtins(data_set("films", data))
    put(*where, f"runs/{run}/download.json", data=download)
    put(*where, f"runs/{run}/split.json", data=split_of(data))


def put_run(
    workspace: Workspace, run: str, days_ago: float, data: str, name: str = "films"
) -> None:
    """Put a published run on the data set and the split `data`, with its row."""
    put_unpublished(workspace, run, days_ago, data)
    manifest = Manifest(
        schema_version=1,
        run_id=run,
        published_at=datetime.now(UTC) - timedelta(days=days_ago),
        code_version="0",
        dataset=data_set(name, data),
        split_fingerprint=data,
        best="linear",
        scores=(),
        files=(),
    )
    put(workspace, days_ago, f"runs/{run}/manifest.json", data=msgspec.to_builtins(manifest))
    index.put(workspace, manifest)


def folders(removals: list[Removal]) -> list[str]:
    return [removal.folder for removal in removals]


def pruned(workspace: Workspace, days: float = 90, **options: bool) -> list[str]:
    return folders(prune(workspace, datetime.now(UTC) - timedelta(days=days), **options))


def row_of(workspace: Workspace, run: str) -> list[str]:
    return [key for key in workspace.store.list("index/") if key.endswith(f".{run}.json")]


def test_old_runs_go_with_the_data_and_splits_that_only_they_use(workspace: Workspace) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "older", OLD + 9, data="shared")
    put_unpublished(workspace, "failed", 5, data="shared")
    put_run(workspace, "new", 5, data="b")
    put(workspace, OLD, "champions/.note", "other/thing", "report.txt")
    age(workspace, ["splits/b/train.npz", "datasets/shared/ratings.csv"], OLD)

    assert pruned(workspace) == ["runs/old", "runs/older", "datasets/a", "splits/a"]
    kept = workspace.store.list("")
    assert {"/".join(key.split("/")[:2]) for key in kept} == {
        *("runs/new", "runs/failed", "datasets/b", "datasets/shared", "splits/b"),
        *("splits/shared", "index/films", "other/thing", "report.txt"),
    }
    assert pruned(workspace) == []


def test_the_newest_published_run_of_each_data_set_stays(workspace: Workspace) -> None:
    put_run(workspace, "first", OLD + 1, data="a", name="films")
    put_run(workspace, "last", OLD, data="a", name="films")
    put_run(workspace, "books", OLD + 50, data="b", name="books")
    assert pruned(workspace) == ["runs/first"]
    assert not row_of(workspace, "first")


def test_files_of_one_name_in_two_places_are_two_data_sets(workspace: Workspace) -> None:
    for run, uri in (("shop", "s3://shop/ratings.csv"), ("films", "s3://films/ratings.csv")):
        put_run(workspace, run, OLD, data=run, name=catalog.identify(uri))
    assert pruned(workspace) == []


def test_a_run_whose_row_is_lost_or_broken_is_still_the_newest(workspace: Workspace) -> None:
    put_run(workspace, "first", OLD + 1, data="a")
    put_run(workspace, "last", OLD, data="b")
    put_run(workspace, "books", OLD, data="c", name="books")
    [lost], [broken] = row_of(workspace, "last"), row_of(workspace, "books")
    workspace.store.delete(lost)
    workspace.store.put(broken, b"{", "application/json")
    assert pruned(workspace) == ["runs/first", "datasets/a", "splits/a"]
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
    assert pruned(workspace) == ["runs/old", "datasets/a", "splits/a"]
    assert pruned(workspace) == []


def test_data_stay_while_a_run_has_a_record_that_cannot_be_read(
    workspace: Workspace, caplog
) -> None:
    put_unpublished(workspace, "unreadable", 5, data="a")
    put(workspace, 5, "runs/unreadable/split.json", data={"later": "format"})
    put(workspace, OLD, "datasets/b/ratings.csv")
    assert pruned(workspace) == []
    assert "data and splits stay this time: runs/unreadable/split.json" in caplog.text


def test_nothing_goes_from_a_store_that_lists_data_but_no_run(workspace: Workspace, caplog) -> None:
    put(workspace, OLD, "datasets/a/ratings.csv", "splits/a/split.json")
    assert pruned(workspace) == []
    assert "lists data but no run: nothing is removed" in caplog.text


def test_a_champion_and_the_one_before_stay_with_their_data(workspace: Workspace) -> None:
    put_run(workspace, "best", OLD, data="a")
    put_run(workspace, "plain", OLD, data="b")
    put_run(workspace, "new", 1, data="c")
    put_run(workspace, "before", OLD, data="d")
    champion = {"run_id": "best", "previous": "before", "network": "mlp"}
    put(workspace, OLD, "champions/films.json", data=champion)
    gone = ["runs/plain", "datasets/b", "splits/b"]
    assert pruned(workspace, dry_run=True) == gone
    assert pruned(workspace) == gone
    assert workspace.store.exists("champions/films.json")


def test_only_pointers_are_read_as_champions(s3_workspace: Workspace) -> None:
    for key in ("champions/.films.json", "champions/films/history/1.json", "champions/notes.txt"):
        s3_workspace.store.put(key, b"no pointer", "text/plain")
    s3_workspace.store.put("champions/films.json", b'{"run_id": "best"}', "application/json")
    assert find_champions(s3_workspace) == {"best"}


@pytest.mark.parametrize("broken", [{"network": "mlp"}, "best", None])
def test_nothing_goes_where_a_champion_cannot_be_read(workspace: Workspace, broken: object) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", OLD, data="a")
    put(workspace, OLD, "champions/films.json", data=broken)
    before = workspace.store.list("")
    with pytest.raises(InvalidDataset, match=r"champions/films\.json is not a champion"):
        pruned(workspace)
    assert workspace.store.list("") == before


def test_a_run_of_which_anything_is_young_stays_as_it_may_be_running(workspace: Workspace) -> None:
    put(workspace, OLD, "runs/long/plan.json", "runs/long/mlp/checkpoints/00001.checkpoint")
    put(workspace, 89, "runs/long/mlp/checkpoints/00002.checkpoint")
    assert pruned(workspace) == []


def test_a_run_that_waits_in_a_queue_for_days_stays_though_published_ones_of_its_age_go(
    workspace: Workspace,
) -> None:
    put_unpublished(workspace, "waiting", 7, data="a")
    put_run(workspace, "old", 7, data="b")
    put_run(workspace, "new", 1, data="c")
    assert pruned(workspace, days=2) == ["runs/old", "datasets/b", "splits/b"]
    age(workspace, workspace.store.list("runs/waiting/"), 9)
    assert pruned(workspace, days=2) == ["runs/waiting", "datasets/a", "splits/a"]


def test_an_unfinished_run_goes_at_the_same_age_with_its_checkpoints(workspace: Workspace) -> None:
    put(workspace, OLD, "runs/dead/plan.json", "runs/dead/mlp/checkpoints/00001.checkpoint")
    assert pruned(workspace) == ["runs/dead"]
    assert workspace.store.list("") == []


def test_data_and_splits_that_were_just_put_stay(workspace: Workspace) -> None:
    put_run(workspace, "new", 2, data="c")
    put(workspace, 1, "datasets/new/ratings.csv", "splits/new/split.json")
    put(workspace, OLD, "datasets/old/ratings.csv", "splits/mixed/split.json")
    put(workspace, 1, "splits/mixed/test.npz")
    assert pruned(workspace) == ["datasets/old"]


def test_data_stay_while_a_run_has_not_chosen_its_own(workspace: Workspace) -> None:
    put(workspace, OLD, "datasets/old/ratings.csv", "runs/dead/plan.json")
    put(workspace, 0.01, "runs/begun/plan.json")
    assert pruned(workspace) == ["runs/dead"]
    put(workspace, 2, "runs/begun/plan.json")  # it failed two days ago
    assert pruned(workspace) == ["datasets/old"]


def test_what_names_a_data_set_goes_before_it(workspace: Workspace) -> None:
    put(
        workspace, OLD, "datasets/a/ratings.csv", "datasets/b/titles.json", "datasets/c/ratings.csv"
    )
    named = data_set("ml-100k", "a")
    named = msgspec.structs.replace(named, titles=blob("datasets/b/titles.json"))
    put(workspace, OLD, "datasets/by-name/ml-100k.json", data=msgspec.to_builtins(named))
    put_run(workspace, "new", 1, data="c")
    other = msgspec.to_builtins(data_set("ml-1m", "c"))
    put(workspace, 1, "datasets/by-name/ml-1m.json", data=other)

    deleted: list[str] = []

    class Recording:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def delete(self, key: str) -> None:
            deleted.append(key)
            store.delete(key)

        def delete_many(self, keys: Iterable[str]) -> None:
            for key in keys:
                self.delete(key)

    store, workspace.store = workspace.store, Recording()
    assert pruned(workspace) == ["datasets/a", "datasets/b"]
    assert deleted[:2] == ["datasets/by-name/ml-100k.json", "datasets/a/ratings.csv"]
    assert store.list("datasets/") == [*("datasets/by-name/ml-1m.json", "datasets/c/ratings.csv")]


class Interrupted(Exception):
    pass


class Dying:
    """A store that dies after so many objects were deleted."""

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


@pytest.mark.parametrize("deletes", range(10))
def test_a_prune_that_dies_anywhere_leaves_nothing_half_and_the_next_one_ends_it(
    workspace: Workspace, deletes: int
) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", 1, data="b")
    whole = {folder: set(workspace.store.list(folder)) for folder in ("runs/old/", "splits/a/")}
    store, workspace.store = workspace.store, Dying(workspace.store, deletes)
    with pytest.raises(Interrupted):
        pruned(workspace)
    workspace.store = store

    for folder, mark in (("runs/old/", "manifest.json"), ("splits/a/", "split.json")):
        left = set(workspace.store.list(folder))
        assert left == whole[folder] or folder + mark not in left
    pruned(workspace)
    gone = ("/old/", ".old.", "/a/")
    assert not [key for key in workspace.store.list("") if any(part in key for part in gone)]


def test_a_dry_run_returns_the_same_and_changes_nothing(workspace: Workspace) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", 1, data="b")
    before = workspace.store.list_with_times("")
    planned = pruned(workspace, dry_run=True)
    assert workspace.store.list_with_times("") == before
    assert planned == pruned(workspace)


@pytest.mark.parametrize("what", ["begun again", "champion"])
def test_a_run_that_matters_again_since_it_was_looked_at_stays_with_its_data(
    workspace: Workspace, what: str
) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", 1, data="b")

    class Changing:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def list_with_times(self, prefix: str) -> object:
            if prefix == "runs/old/":
                if what == "champion":
                    put(workspace, 0, "champions/films.json", data={"run_id": "old"})
                else:
                    put(workspace, 0, "runs/old/mlp/train.json")
            return store.list_with_times(prefix)

    store = workspace.store
    before = store.list("")
    workspace.store = Changing()
    assert pruned(workspace) == []
    assert set(before) <= set(store.list(""))


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

    assert pruned(s3_workspace, days=-1) == ["runs/older", "datasets/unused"]
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


def test_a_store_that_does_not_answer_is_an_error(workspace: Workspace, monkeypatch) -> None:
    def dead(prefix: str) -> list:
        raise StoreUnavailable("dead")

    monkeypatch.setattr(workspace.store, "list_with_times", dead)
    with pytest.raises(StoreUnavailable):
        prune(workspace, datetime.now(UTC))
