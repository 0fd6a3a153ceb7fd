from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from mftasks import progress
from mftasks.errors import ChecksumMismatch, MissingRecord
from mftasks.records import Manifest, ReportRef, SplitRef, TrainResult
from mftasks.steps.publish import publish
from mftasks.steps.report import report
from mftasks.steps.train import train
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.finished_run import NETWORKS, RUN, TITLES, evaluated_run, published_run, reported_run

MANIFEST = keys.run(RUN, "manifest.json")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return reported_run(tmp_path)


def contents(workspace: Workspace) -> dict[str, bytes]:
    return {key: workspace.store.get(key) for key in workspace.store.list("runs/")}


def test_the_manifest_lists_every_file_of_the_run_with_its_sha256(workspace: Workspace) -> None:
    manifest = publish(workspace, RUN)
    for file in manifest.files:
        data = workspace.store.get(file.key)
        assert file.key == keys.run(RUN, file.name)
        assert (file.sha256, file.n_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    listed = {file.key for file in manifest.files}
    assert set(workspace.store.list(f"runs/{RUN}/")) == {*listed, MANIFEST}


def test_checkpoints_stay_until_the_run_is_published(workspace: Workspace) -> None:
    key = keys.run(RUN, "mlp/checkpoints/00003.checkpoint")
    other = key.replace(RUN, "other")
    for each in (key, other):
        workspace.store.put(each, b"state", "application/octet-stream")
    report = workspace.store.get(keys.run(RUN, "report.json"))
    workspace.store.delete(keys.run(RUN, "report.json"))
    with pytest.raises(MissingRecord):
        publish(workspace, RUN)
    assert workspace.store.exists(key)
    workspace.store.put(keys.run(RUN, "report.json"), report, "application/json")
    publish(workspace, RUN)
    assert not workspace.store.exists(key)
    assert workspace.store.exists(other)


def test_the_manifest_holds_what_the_report_found(workspace: Workspace) -> None:
    manifest = publish(workspace, RUN)
    report = workspace.read(keys.run(RUN, "report.json"), ReportRef)
    assert manifest.scores == report.scores
    assert (manifest.run_id, manifest.best) == (RUN, report.best)
    split = workspace.read(keys.run(RUN, "split.json"), SplitRef)
    assert manifest.split_fingerprint == split.fingerprint


def test_files_have_a_type_and_a_role(workspace: Workspace) -> None:
    files = {file.name: file for file in publish(workspace, RUN).files}
    assert files["report.html"].content_type == "text/html; charset=utf-8"
    assert files["mlp/bundle/bundle.json"].content_type == "application/json"
    assert files["mlp/bundle/model-0000.params"].content_type == "application/octet-stream"
    assert files["mlp/history.csv"].content_type == "text/csv; charset=utf-8"
    assert {file.role for file in files.values()} == {
        "page",
        "record",
        "bundle",
        "history",
        "titles",
        "rated",
    }


def test_the_history_is_a_table_with_one_line_per_epoch(workspace: Workspace) -> None:
    publish(workspace, RUN)
    result = workspace.read(keys.network(RUN, NETWORKS[0], "train.json"), TrainResult)
    text = workspace.store.get(keys.run(RUN, f"{NETWORKS[0]}/history.csv")).decode()
    rows = list(csv.DictReader(text.splitlines()))
    assert [int(row["epoch"]) for row in rows] == [epoch.epoch for epoch in result.history]
    assert float(rows[-1]["train_rmse"]) == result.history[-1].train_rmse


def test_titles_travel_with_the_run(workspace: Workspace) -> None:
    publish(workspace, RUN)
    assert TITLES["7"].encode() in workspace.store.get(keys.run(RUN, "titles.json"))


def test_files_that_an_earlier_try_of_other_code_put_are_replaced(workspace: Workspace) -> None:
    for name in ("mlp/history.csv", "rated.npz", "titles.json"):
        workspace.store.put(keys.run(RUN, name), b"of a version before", "text/plain")
    for file in publish(workspace, RUN).files:
        assert hashlib.sha256(workspace.store.get(file.key)).hexdigest() == file.sha256


def test_an_attempt_changes_nothing_once_another_has_published(workspace: Workspace) -> None:
    store, late = workspace.store, []

    class Racing:
        """A store in which another attempt publishes the run before the first file is put."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def put(self, key: str, *rest: object) -> None:
            if store.exists(MANIFEST):
                late.append(key)
            else:
                publish(Workspace(workspace.settings), RUN)
            store.put(key, *rest)

    workspace.store = Racing()
    publish(workspace, RUN)
    assert [key for key in late if key.startswith("runs/")] == []
    assert publish(Workspace(workspace.settings), RUN).run_id == RUN


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    workspace = published_run(tmp_path)
    before = contents(workspace)
    assert publish(workspace, RUN) == workspace.read(MANIFEST, Manifest)
    assert contents(workspace) == before


def test_a_file_that_was_altered_is_found_before_the_manifest_is_put(workspace: Workspace) -> None:
    workspace.store.put(keys.run(RUN, "report.html"), b"<p>better news", "text/html")
    with pytest.raises(ChecksumMismatch, match=r"report\.html has sha256"):
        publish(workspace, RUN)
    assert not workspace.store.exists(MANIFEST)


def test_a_published_file_that_was_altered_since_is_found(tmp_path: Path) -> None:
    workspace = published_run(tmp_path)
    workspace.store.put(keys.run(RUN, "mlp/bundle/model-0000.params"), b"!", "text/plain")
    with pytest.raises(ChecksumMismatch, match=r"model-0000\.params has sha256"):
        publish(workspace, RUN)


def test_a_file_that_vanished_is_found(workspace: Workspace) -> None:
    workspace.store.delete(keys.run(RUN, "mlp/bundle/vocabulary.npz"))
    with pytest.raises(MissingRecord, match=r"vocabulary\.npz is not there"):
        publish(workspace, RUN)


def test_a_run_without_a_report_is_not_published(tmp_path: Path) -> None:
    workspace = evaluated_run(tmp_path / "other")
    with pytest.raises(MissingRecord, match=r"report\.json is not there"):
        publish(workspace, RUN)
    assert not workspace.store.exists(MANIFEST)


def test_it_reports_how_much_is_verified(workspace: Workspace) -> None:
    ticks: list[progress.Tick] = []
    manifest = publish(workspace, RUN, on_tick=ticks.append)
    total = sum(file.n_bytes for file in manifest.files)
    assert (ticks[-1].work, ticks[-1].done, ticks[-1].total) == ("publish", total, total)


def test_a_run_in_s3_is_published_with_its_content_types(
    workspace: Workspace, s3_workspace: Workspace
) -> None:
    for key, data in ((key, workspace.store.get(key)) for key in workspace.store.list("")):
        s3_workspace.store.put(key, data, "application/octet-stream")
    for name in ("report.html", "comparison.html", "report.json", "mlp/train.json"):
        s3_workspace.store.delete(keys.run(RUN, name))
    for key in s3_workspace.store.list(keys.run(RUN, "mlp/bundle/")):
        s3_workspace.store.delete(key)

    train(s3_workspace, RUN, "mlp")
    report(s3_workspace, RUN)
    manifest = publish(s3_workspace, RUN)
    assert publish(s3_workspace, RUN) == manifest
    client, bucket = s3_workspace.store._client, s3_workspace.store.bucket
    for name in ("report.html", "mlp/history.csv", "mlp/bundle/bundle.json", "titles.json"):
        head = client.head_object(
            Bucket=bucket, Key=s3_workspace.store.prefix + keys.run(RUN, name)
        )
        listed = next(file for file in manifest.files if file.name == name)
        assert head["ContentType"] == listed.content_type
