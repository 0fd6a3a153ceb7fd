from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mftasks.data import catalog, formats
from mftasks.errors import (
    InvalidPlan,
    SourceUnavailable,
)
from mftasks.steps.download import download
from mftasks.store.workspace import Workspace
from tests.steps.downloads import change_settings, plan_run


def test_a_password_in_a_uri_is_not_recorded(workspace: Workspace, tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("user_id,item_id,rating\n1,2,3\n")
    uri = f"file://reader:secret@localhost{path}"
    ref = download(workspace, plan_run(workspace, uri))
    assert ref.source == f"file://localhost{path}"


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
    assert (ref.name, ref.format, ref.source) == (
        catalog.identify(path.as_uri()),
        "csv",
        path.as_uri(),
    )
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
    assert (ref.name, ref.format, ref.source) == (catalog.identify(uri), "parquet", uri)
    assert formats.read(s3_workspace.fetch(ref.ratings), "parquet").n_ratings == 2
    with pytest.raises(InvalidPlan, match="no such object"):
        download(s3_workspace, plan_run(s3_workspace, uri.replace("mine.", "yours."), "b"))
    with pytest.raises(InvalidPlan, match=r"data set 's3://nobodys/a\.csv': .*create it, or check"):
        download(s3_workspace, plan_run(s3_workspace, "s3://nobodys/a.csv", "c"))


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
