from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from mftasks import published
from mftasks.errors import InvalidPlan, StoreUnavailable
from mftasks.published import index
from mftasks.records import Manifest, RunRow
from mftasks.steps.publish import publish
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.finished_run import DATASET, RUN, published_run, reported_run

START = datetime(2026, 1, 1, tzinfo=UTC)
JSON = "application/json"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return published_run(tmp_path)


@pytest.fixture
def manifest(workspace: Workspace) -> Manifest:
    return workspace.read(keys.run(RUN, "manifest.json"), Manifest)


def put_runs(workspace: Workspace, manifest: Manifest, *names: str, dataset: str = DATASET) -> None:
    """Publish runs, one a day, without their rows."""
    for day, name in enumerate(names):
        other = msgspec.structs.replace(
            manifest,
            run_id=name,
            published_at=START + timedelta(days=day),
            dataset=msgspec.structs.replace(manifest.dataset, name=dataset),
        )
        workspace.write(keys.run(name, "manifest.json"), other)


def ids(entries: list[index.Entry]) -> list[str]:
    return [entry.run_id for entry in entries]


class Counting:
    """A store that counts what it is asked for."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.asked: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> object:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def ask(key: object, *rest: object) -> object:
            self.asked.append((name, str(key)))
            return found(key, *rest)

        return ask


def test_publishing_writes_a_row_with_what_lists_show(tmp_path: Path) -> None:
    workspace = reported_run(tmp_path)
    manifest = publish(workspace, RUN)
    [entry] = index.find(workspace)
    assert (entry.run_id, entry.dataset) == (RUN, DATASET)
    [row] = index.read(workspace, [entry])
    assert row == RunRow(**{name: getattr(manifest, name) for name in RunRow.__struct_fields__})


def test_entries_are_ordered_by_time_over_all_data_sets(
    workspace: Workspace, manifest: Manifest
) -> None:
    put_runs(workspace, manifest, "b", "d")
    put_runs(workspace, manifest, "c.with.dots", "a", dataset="books-0a1b2c3d")
    index.repair(workspace)
    assert ids(index.find(workspace)) == ["b", "c.with.dots", "a", "d", RUN]
    assert ids(index.find(workspace, "books-0a1b2c3d")) == ["c.with.dots", "a"]


def test_a_data_set_whose_name_begins_like_anothers_is_another(
    workspace: Workspace, manifest: Manifest
) -> None:
    put_runs(workspace, manifest, "large", dataset=f"{DATASET}-large")
    index.repair(workspace)
    assert ids(index.find(workspace, DATASET)) == [RUN]


def test_a_list_costs_one_small_read_per_run_and_the_latest_run_one(
    workspace: Workspace, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_runs(workspace, manifest, *(f"run-{number}" for number in range(20)))
    index.repair(workspace)
    store = Counting(workspace.store)
    monkeypatch.setattr(workspace, "store", store)
    assert len(list(index.read(workspace, index.find(workspace)))) == 21
    assert [name for name, _ in store.asked] == ["list", *["get"] * 21]
    assert all(key.startswith("index/") for _, key in store.asked)
    store.asked.clear()
    published.read_latest(workspace)
    assert store.asked == [("list", "index/"), ("get", keys.run(RUN, "manifest.json"))]


def test_rows_of_a_bucket_come_in_order_over_few_connections(
    s3_workspace: Workspace, manifest: Manifest, caplog
) -> None:
    put_runs(s3_workspace, manifest, *(f"run-{number:02}" for number in range(40)))
    entries = index.repair(s3_workspace)
    rows = list(index.read(s3_workspace, entries))
    assert [row.run_id for row in rows] == [f"run-{number:02}" for number in range(40)]
    assert "pool is full" not in caplog.text


@pytest.mark.parametrize("harm", ["cut off", "of something else", "gone"])
def test_a_row_that_cannot_be_read_is_written_again_from_its_manifest(
    workspace: Workspace, harm: str
) -> None:
    [entry] = index.find(workspace)
    [row] = index.read(workspace, [entry])
    before = workspace.store.get(entry.key)
    if harm == "gone":
        workspace.store.delete(entry.key)
    else:
        broken = before[:40] if harm == "cut off" else b'{"run_id": "small"}'
        workspace.store.put(entry.key, broken, JSON)
    assert list(index.read(workspace, [entry])) == [row]
    assert workspace.store.get(entry.key) == before


@pytest.mark.parametrize("refusal", [InvalidPlan("AccessDenied"), StoreUnavailable("read-only")])
def test_a_row_that_cannot_be_read_is_shown_though_nobody_may_write(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    [entry] = index.find(workspace)
    workspace.store.put(entry.key, b"", JSON)

    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(workspace.store, "put", refuse)
    assert [row.run_id for row in index.read(workspace, [entry])] == [RUN]


def test_rows_that_are_lost_come_back_and_rows_without_a_run_go(
    workspace: Workspace, manifest: Manifest
) -> None:
    put_runs(workspace, manifest, "lost")
    index.put(workspace, msgspec.structs.replace(manifest, run_id="removed"))
    index.put(workspace, msgspec.structs.replace(manifest, published_at=START))
    assert ids(index.repair(workspace)) == ["lost", RUN]
    assert ids(index.find(workspace)) == ["lost", RUN]


def test_publishing_brings_back_the_rows_of_other_runs(tmp_path: Path, manifest: Manifest) -> None:
    workspace = reported_run(tmp_path / "other")
    put_runs(workspace, manifest, "lost")
    publish(workspace, RUN)
    assert ids(index.find(workspace)) == ["lost", RUN]


def test_a_store_that_lost_its_index_still_has_a_latest_run(
    workspace: Workspace, manifest: Manifest
) -> None:
    put_runs(workspace, manifest, "books", dataset="books-0a1b2c3d")
    workspace.store.delete_many(workspace.store.list("index/"))
    assert published.read_latest(workspace, DATASET) == manifest
    workspace.store.delete_many(workspace.store.list("index/books-0a1b2c3d/"))
    assert published.read_latest(workspace, "books-0a1b2c3d").run_id == "books"


def test_a_manifest_that_cannot_be_read_has_no_row_and_harms_no_other(
    workspace: Workspace, manifest: Manifest, caplog
) -> None:
    put_runs(workspace, manifest, "good")
    workspace.store.put(keys.run("newer", "manifest.json"), b'{"schema_version": 99}', JSON)
    assert ids(index.repair(workspace)) == ["good", RUN]
    assert "run newer is left out: " in caplog.text


def test_what_is_no_row_is_ignored(workspace: Workspace) -> None:
    for key in ("index/note.txt", "index/films/readme", "index/films/.json", "index/.hidden"):
        workspace.store.put(key, json.dumps(1).encode(), JSON)
    assert ids(index.find(workspace)) == [RUN]
