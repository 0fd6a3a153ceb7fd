from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mftasks import reading
from mftasks.data import catalog
from mftasks.data.fetching import sources
from mftasks.errors import (
    ChecksumMismatch,
    InvalidDataset,
    InvalidPlan,
    MissingRecord,
    SourceUnavailable,
    StoreUnavailable,
    UnknownDataset,
)
from mftasks.records import DatasetRef, ReadConfig
from mftasks.steps.download import download
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests import movielens
from tests.steps.downloads import change_settings, plan_run, publish_rows
from tests.web import Answer, Web


@pytest.fixture(autouse=True)
def _wait_briefly(monkeypatch):
    monkeypatch.setattr(sources, "FIRST_WAIT_SECONDS", 0.01)


@pytest.mark.parametrize("name", list(catalog.DATASETS))
def test_every_data_set_of_the_catalogue_is_put_into_the_store(
    name: str, workspace: Workspace, site: Web, monkeypatch: pytest.MonkeyPatch
):
    ratings = publish_rows(monkeypatch, site, name)
    workspace = change_settings(workspace, movielens_url=site.base)
    ref = download(workspace, plan_run(workspace, name))
    assert (ref.name, ref.source) == (name, f"{site.base}/{name}.zip")
    assert ref.sha256 == ref.ratings.sha256 == hashlib.sha256(ratings).hexdigest()
    assert ref.ratings.key.startswith(f"datasets/{ref.sha256}/")
    assert workspace.fetch(ref.ratings).read_bytes() == ratings
    assert ref.layout is not None
    found = reading.load([workspace.fetch(ref.ratings)], ref.layout, ReadConfig())
    assert found.table.n_ratings == len(movielens.ROWS)
    assert ref.titles is not None
    assert json.loads(workspace.fetch(ref.titles).read_bytes()) == movielens.TITLES
    assert workspace.read(keys.run("a", "download.json"), DatasetRef) == ref
    assert not list(workspace.cache.folder.glob(".download-*"))


def test_running_it_again_asks_nobody(workspace: Workspace, site: Web, monkeypatch):
    publish_rows(monkeypatch, site, "ml-latest")
    workspace = change_settings(workspace, movielens_url=site.base)
    plan_run(workspace, "ml-latest")
    assert download(workspace, "a") == download(workspace, "a")
    assert site.asked == ["/ml-latest.zip"]


@pytest.mark.parametrize(("name", "n_fetched"), [("ml-1m", 1), ("ml-latest-small", 2)])
def test_a_release_that_never_changes_is_fetched_once_for_all_runs(
    name: str, n_fetched: int, workspace: Workspace, site: Web, monkeypatch
):
    publish_rows(monkeypatch, site, name)
    workspace = change_settings(workspace, movielens_url=site.base)
    first = download(workspace, plan_run(workspace, name, "a"))
    second = download(workspace, plan_run(workspace, name, "b"))
    assert second == first
    assert len(site.asked) == n_fetched


def test_data_that_were_deleted_from_the_store_are_fetched_again(
    workspace: Workspace, site: Web, monkeypatch, tmp_path: Path
):
    publish_rows(monkeypatch, site, "ml-1m")
    workspace = change_settings(workspace, movielens_url=site.base)
    first = download(workspace, plan_run(workspace, "ml-1m"))
    workspace.store.delete(first.ratings.key)
    emptied = change_settings(workspace, cache=tmp_path / "fresh")
    assert download(emptied, plan_run(emptied, "ml-1m", "b")) == first
    assert workspace.store.exists(first.ratings.key)


def test_a_note_that_cannot_be_read_is_written_again(workspace: Workspace, site: Web, monkeypatch):
    publish_rows(monkeypatch, site, "ml-1m")
    workspace = change_settings(workspace, movielens_url=site.base)
    key = "datasets/by-name/ml-1m.json"
    workspace.store.put(key, b'{"name": "ml-1m"}', "application/json")
    ref = download(workspace, plan_run(workspace, "ml-1m"))
    assert workspace.read(key, DatasetRef) == ref


def test_altered_data_end_the_run_and_leave_nothing(workspace: Workspace, site: Web):
    data = movielens.archive(catalog.find("ml-1m"), movielens.ROWS)
    site.serve("/ml-1m.zip", Answer(data))
    workspace = change_settings(workspace, movielens_url=site.base)
    with pytest.raises(ChecksumMismatch, match="but c4d9eecfca2ab87c1945afe126590906 was expected"):
        download(workspace, plan_run(workspace, "ml-1m"))
    assert workspace.store.list("datasets/") == []
    assert not workspace.store.exists(keys.run("a", "download.json"))


def test_an_archive_that_unpacks_into_too_much_ends_the_run(workspace: Workspace, site: Web):
    dataset = catalog.find("ml-latest")
    members = dict(zip(dataset.members, (bytes(50_000_000), b"x"), strict=True))
    site.serve("/ml-latest.zip", Answer(movielens.zip_of(members)))
    workspace = change_settings(workspace, movielens_url=site.base)
    with pytest.raises(InvalidDataset, match="50,000,000 bytes; at most"):
        download(workspace, plan_run(workspace, "ml-latest"))
    assert not workspace.store.exists(keys.run("a", "download.json"))


def test_a_dead_source_is_reported(workspace: Workspace):
    workspace = change_settings(workspace, movielens_url="http://127.0.0.1:1")
    with pytest.raises(SourceUnavailable, match=r"http://127\.0\.0\.1:1/ml-latest\.zip"):
        download(workspace, plan_run(workspace, "ml-latest"))


def test_a_name_that_is_not_in_the_catalogue_is_refused(workspace: Workspace):
    with pytest.raises(UnknownDataset, match="did you mean 'ml-20m'"):
        download(workspace, plan_run(workspace, "ml-20n"))


def test_download_before_plan_is_refused(workspace: Workspace):
    with pytest.raises(MissingRecord, match=r"plan\.json"):
        download(workspace, "a")


def test_a_cache_that_cannot_be_written_is_explained(workspace: Workspace, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    blocked = change_settings(workspace, cache=tmp_path / "file" / "cache")
    with pytest.raises(StoreUnavailable, match="set MF_CACHE to another folder"):
        download(blocked, plan_run(blocked, "ml-latest"))


def test_a_file_outside_the_allowed_folders_is_refused(workspace: Workspace, tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("user_id,item_id,rating\n1,2,3\n")
    workspace = change_settings(workspace, data_roots="/srv/ratings")
    with pytest.raises(InvalidPlan, match="outside the folders of MF_DATA_ROOTS, /srv/ratings"):
        download(workspace, plan_run(workspace, path.as_uri()))


def test_a_file_of_the_user_is_copied_by_its_content(workspace: Workspace, tmp_path: Path):
    path = tmp_path / "My Shop.csv"
    path.write_text("user_id,item_id,rating\nana,x,3\n")
    ref = download(workspace, plan_run(workspace, path.as_uri()))
    assert (ref.name, ref.source) == (catalog.identify(path.as_uri()), path.as_uri())
    assert ref.layout is None
    assert ref.titles is None
    first = path.read_bytes()
    path.write_text("user_id,item_id,rating\nana,x,4\n")
    changed = download(workspace, plan_run(workspace, path.as_uri(), "b"))
    assert changed.sha256 != ref.sha256
    assert workspace.store.get(ref.ratings.key) == first


def test_an_object_of_the_user_is_read_from_s3(s3_workspace: Workspace, tmp_path: Path):
    path = tmp_path / "mine.parquet"
    columns = {"user_id": ["ana", "bob"], "item_id": [1, 2], "rating": [3.0, 4.5]}
    pq.write_table(pa.table(columns), path)
    s3_workspace.store.put("uploads/mine.parquet", path, "application/octet-stream")
    uri = f"{s3_workspace.store.uri}/uploads/mine.parquet"
    ref = download(s3_workspace, plan_run(s3_workspace, uri))
    assert (ref.name, ref.source) == (catalog.identify(uri), uri)
    path = s3_workspace.fetch(ref.ratings)
    layout = reading.understand([path], ReadConfig())
    assert layout.kind == "parquet"
    assert reading.load([path], layout, ReadConfig()).table.n_ratings == 2
    with pytest.raises(InvalidPlan, match=r"yours\.parquet is not there; it must be"):
        download(s3_workspace, plan_run(s3_workspace, uri.replace("mine.", "yours."), "b"))
    with pytest.raises(InvalidPlan, match=r"data set 's3://nobodys/a\.csv': .*create it, or check"):
        download(s3_workspace, plan_run(s3_workspace, "s3://nobodys/a.csv", "c"))


def test_a_folder_of_s3_is_one_data_set_in_parts(s3_workspace: Workspace) -> None:
    rows = {
        "a/part-1": "3,2,5\n",
        "a/part-0": "1,2,3\n2,2,4\n",
        "a/_SUCCESS": "",
        "a/x/p": "4,2,1\n",
    }
    for name, text in {**rows, "ab": "9,9,9\n"}.items():
        data = ("user_id,item_id,rating\n" + text).encode() if text else b""
        s3_workspace.store.put(f"uploads/{name}", data, "text/csv")
    base = f"{s3_workspace.store.uri}/uploads"
    for run, place, users in (
        ("a", "a", [1, 2, 3, 4]),
        ("b", "a/", [1, 2, 3, 4]),
        ("c", "a/part-*", [1, 2, 3]),
        ("d", "ab", [9]),
    ):
        ref = download(s3_workspace, plan_run(s3_workspace, f"{base}/{place}", run))
        found = reading.load_stored(s3_workspace, ref, None, ReadConfig())
        assert found.table.users.known.tolist() == users
        assert len(ref.blobs) == max(1, len(users) - 1)
        assert (ref.sha256 == ref.ratings.sha256) == (len(users) == 1)


def test_a_dead_s3_server_is_a_source_that_does_not_answer(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    dead = change_settings(workspace, s3_endpoint="http://127.0.0.1:1")
    with pytest.raises(SourceUnavailable, match=r"s3://bucket/mine\.csv"):
        download(dead, plan_run(dead, "s3://bucket/mine.csv"))


def test_a_uri_without_a_file_is_refused(workspace: Workspace):
    message = "No such file or directory: '/nowhere/mine.csv'; it must be"
    with pytest.raises(InvalidPlan, match=message):
        download(workspace, plan_run(workspace, "file:///nowhere/mine.csv"))
