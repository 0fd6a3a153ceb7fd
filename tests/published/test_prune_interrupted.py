from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
import pytest

from mftasks.errors import StoreUnavailable
from mftasks.published.retention import prune
from mftasks.store.workspace import Workspace
from tests.published.stored_runs import (
    OLD,
    blob,
    data_set,
    prune_older,
    put,
    put_run,
)


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
    assert prune_older(workspace) == ["datasets/a", "datasets/b"]
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
        prune_older(workspace)
    workspace.store = store

    for folder, mark in (("runs/old/", "manifest.json"), ("splits/a/", "split.json")):
        left = set(workspace.store.list(folder))
        assert left == whole[folder] or folder + mark not in left
    prune_older(workspace)
    gone = ("/old/", ".old.", "/a/")
    assert not [key for key in workspace.store.list("") if any(part in key for part in gone)]


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
    assert prune_older(workspace) == []
    assert set(before) <= set(store.list(""))


def test_a_store_that_does_not_answer_is_an_error(workspace: Workspace, monkeypatch) -> None:
    def dead(prefix: str) -> list:
        raise StoreUnavailable("dead")

    monkeypatch.setattr(workspace.store, "list_with_times", dead)
    with pytest.raises(StoreUnavailable):
        prune(workspace, datetime.now(UTC))
