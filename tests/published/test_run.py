from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mftasks import published
from mftasks.data import catalog, formats
from mftasks.errors import (
    ChecksumMismatch,
    InvalidDataset,
    InvalidPlan,
    MissingRecord,
    UnknownDataset,
    UnknownNetwork,
)
from mftasks.published import index
from mftasks.published.manifest import SCHEMA_VERSION
from mftasks.published.rated import to_rated
from mftasks.records import DagRun, DatasetRef, Manifest, SplitConfig
from mftasks.store.workspace import Workspace, run_key
from tests.finished_run import RUN, TITLES, published_run


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return published_run(tmp_path)


@pytest.fixture
def manifest(workspace: Workspace) -> Manifest:
    return workspace.read(run_key(RUN, "manifest.json"), Manifest)


def put_manifest(workspace: Workspace, manifest: Manifest, **changes: object) -> Manifest:
    """Publish another run, with the files of the first."""
    changed = msgspec.structs.replace(manifest, **changes)
    workspace.write(run_key(changed.run_id, "manifest.json"), changed)
    index.put(workspace, changed)
    return changed


def on(manifest: Manifest, dataset: str) -> DatasetRef:
    return msgspec.structs.replace(manifest.dataset, name=dataset)


def test_the_latest_run_is_the_one_that_was_published_last(
    workspace: Workspace, manifest: Manifest
) -> None:
    later = manifest.published_at + timedelta(hours=1)
    put_manifest(workspace, manifest, run_id="a-later-one", published_at=later)
    earlier = datetime(2020, 1, 1, tzinfo=UTC)
    put_manifest(workspace, manifest, run_id="z-earlier-one", published_at=earlier)
    assert published.read_latest(workspace).run_id == "a-later-one"


def test_with_several_data_sets_one_must_be_named(workspace: Workspace, manifest: Manifest) -> None:
    other = catalog.identify("s3://shop/ratings.csv")
    later = manifest.published_at + timedelta(hours=1)
    put_manifest(
        workspace, manifest, run_id="other", published_at=later, dataset=on(manifest, other)
    )
    with pytest.raises(InvalidPlan, match=rf"2 data sets; name one by --dataset: films, {other}"):
        published.open_run(workspace)
    assert published.open_run(workspace, dataset="films").manifest.run_id == RUN
    for name in (other, "s3://shop/ratings.csv"):
        assert published.open_run(workspace, dataset=name).manifest.run_id == "other"
    with pytest.raises(UnknownDataset, match=r"'fims' is published; did you mean 'films'"):
        published.open_run(workspace, dataset="fims")


@pytest.mark.parametrize("content", [{"schema_version": 99, "files": "other"}, "rubbish"])
def test_newer_runs_that_cannot_be_read_are_skipped_with_one_warning(
    workspace: Workspace, manifest: Manifest, content: object, caplog
) -> None:
    for number in (1, 2):
        later = manifest.published_at + timedelta(hours=number)
        put_manifest(workspace, manifest, run_id=f"new-{number}", published_at=later)
        key = run_key(f"new-{number}", "manifest.json")
        workspace.store.put(key, json.dumps(content).encode(), "application/json")
    assert published.open_run(workspace).manifest == manifest
    [warning] = caplog.messages
    assert warning.startswith("2 newer runs are skipped; the last: ")
    assert "new-2/manifest.json" in warning


def test_a_manifest_of_a_newer_version_is_not_guessed_at(
    workspace: Workspace, manifest: Manifest
) -> None:
    newer = msgspec.structs.replace(manifest, schema_version=SCHEMA_VERSION + 1)
    key = run_key(RUN, "manifest.json")
    workspace.store.put(key, msgspec.json.encode(newer), "application/json")
    with pytest.raises(InvalidDataset, match=r"has schema version 2, and this code reads up to 1"):
        published.open_run(workspace, RUN)


def test_a_manifest_with_a_field_that_is_not_known_yet_is_read(
    workspace: Workspace, manifest: Manifest
) -> None:
    key = run_key(RUN, "manifest.json")
    richer = json.loads(workspace.store.get(key)) | {"licence": "as MovieLens"}
    workspace.store.put(key, json.dumps(richer).encode(), "application/json")
    assert published.open_run(workspace, RUN).manifest == manifest


def test_a_store_without_runs_says_so(tmp_path: Path) -> None:
    from mftasks.settings import Settings

    empty = Workspace(Settings(store=(tmp_path / "none").as_uri(), cache=tmp_path / "cache"))
    with pytest.raises(MissingRecord, match="holds no published run; start one first"):
        published.open_run(empty)


@pytest.mark.parametrize("name", ["nightly", "../../etc", "manual__2026-11-26T02:04:55+00:00", ""])
def test_a_run_that_is_not_published_is_missed_and_the_newest_are_named(
    workspace: Workspace, manifest: Manifest, name: str
) -> None:
    for day in range(1, 6):
        moment = manifest.published_at - timedelta(days=day)
        put_manifest(workspace, manifest, run_id=f"day-{day}", published_at=moment)
    newest = f"{RUN}, day-1, day-2, day-3, day-4"
    sentence = f"holds no published run {name!r}; the newest: {newest}"
    with pytest.raises(MissingRecord, match=f"{re.escape(sentence)}$"):
        published.open_run(workspace, name)


def test_a_run_is_found_by_what_airflow_calls_it(workspace: Workspace, manifest: Manifest) -> None:
    named = "manual__2026-11-26T02:04:55.103520+00:00"
    put_manifest(workspace, manifest, run_id="a-1", dag_run=DagRun(dag_id="films", run_id=named))
    assert published.open_run(workspace, named).manifest.run_id == "a-1"
    put_manifest(workspace, manifest, run_id="b-2", dag_run=DagRun(dag_id="books", run_id=named))
    with pytest.raises(InvalidPlan, match=r"2 runs are called 'manual__.*'; name one: b-2, a-1"):
        published.open_run(workspace, named)


def test_the_best_network_predicts_unless_another_is_asked_for(workspace: Workspace) -> None:
    run = published.open_run(workspace)
    assert run.bundle().header.network == run.manifest.best
    assert run.bundle("mlp").header.network == "mlp"


def test_a_network_that_was_not_trained_is_refused_with_a_suggestion(workspace: Workspace) -> None:
    with pytest.raises(UnknownNetwork, match="did you mean 'mlp'"):
        published.open_run(workspace).bundle("mpl")


def test_titles_are_those_of_the_data_set(workspace: Workspace) -> None:
    assert published.open_run(workspace).titles() == TITLES


def test_a_data_set_may_have_no_titles(workspace: Workspace, manifest: Manifest) -> None:
    files = tuple(file for file in manifest.files if file.name != "titles.json")
    put_manifest(workspace, manifest, run_id="bare", files=files)
    assert published.open_run(workspace, "bare").titles() == {}


def test_what_a_user_rated_in_any_part_of_the_data_is_known_without_the_store(
    workspace: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    rows = workspace.fetch(manifest.dataset.ratings).read_text().splitlines()[1:]
    pairs = [row.split(",")[:2] for row in rows]
    run = published.open_folder(published.copy(workspace, manifest, tmp_path / "output"))
    for user in ("0", "37", "59"):
        items = sorted(int(item) for rater, item in pairs if rater == user)
        assert sorted(run.rated_by(user)) == items
        assert not {item for item, _ in run.bundle().recommend(user, exclude=items)} & {*items}


def test_what_was_rated_after_as_of_is_not_known(workspace: Workspace, manifest: Manifest) -> None:
    table = formats.read(workspace.fetch(manifest.dataset.ratings), "csv")
    moments = np.sort(table.timestamps)
    as_of = datetime.fromtimestamp(int(moments[len(moments) // 2]), UTC)
    data = to_rated(table, SplitConfig(strategy="hash", test_fraction=0.2, as_of=as_of))
    with np.load(io.BytesIO(data)) as arrays:
        assert arrays["starts"][-1] == len(arrays["items"]) == len(moments) // 2


def test_an_unknown_user_has_rated_nothing(workspace: Workspace) -> None:
    run = published.open_run(workspace)
    assert run.rated_by(999) == run.rated_by("nobody") == []


def test_a_copy_holds_every_file_and_predicts_the_same(
    workspace: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    folder = published.copy(workspace, manifest, tmp_path / "output" / RUN)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {file.name for file in manifest.files} | {"manifest.json"}
    copied = published.open_folder(folder)
    assert copied.manifest == manifest
    np.testing.assert_array_equal(
        copied.bundle().predict(3, np.arange(40)),
        published.open_run(workspace).bundle().predict(3, np.arange(40)),
    )
    assert [path.name for path in folder.parent.iterdir()] == [RUN]


def test_copying_again_leaves_a_whole_copy_alone(
    workspace: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    folder = published.copy(workspace, manifest, tmp_path / RUN)
    before = folder.stat().st_ino
    published.copy(workspace, manifest, folder)
    assert folder.stat().st_ino == before


def test_copying_again_repairs_a_damaged_copy(
    workspace: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    folder = published.copy(workspace, manifest, tmp_path / "output" / RUN)
    (folder / "report.html").write_text("better news")
    (folder / "stray.txt").write_text("left behind")
    published.copy(workspace, manifest, folder)
    assert "better news" not in (folder / "report.html").read_text()
    assert not (folder / "stray.txt").exists()
    assert [path.name for path in folder.parent.iterdir()] == [RUN]


def test_an_altered_object_leaves_no_copy(
    workspace: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    workspace.store.put(run_key(RUN, "mlp/history.csv"), b"epoch\n", "text/csv")
    with pytest.raises(ChecksumMismatch, match=r"history\.csv has sha256"):
        published.copy(workspace, manifest, tmp_path / "output" / RUN)
    assert list((tmp_path / "output").iterdir()) == []


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt"])
def test_a_manifest_cannot_write_outside_its_folder(
    workspace: Workspace, manifest: Manifest, tmp_path: Path, name: str
) -> None:
    hostile = msgspec.structs.replace(manifest.files[0], name=name)
    changed = put_manifest(workspace, manifest, run_id="hostile", files=(hostile,))
    with pytest.raises(InvalidDataset, match="leaves the run's folder"):
        published.copy(workspace, changed, tmp_path / "output" / "hostile")


def test_a_damaged_copy_does_not_predict(
    workspace: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    folder = published.copy(workspace, manifest, tmp_path / RUN)
    (folder / manifest.best / "bundle" / "vocabulary.npz").write_bytes(b"")
    with pytest.raises(ChecksumMismatch, match=r"vocabulary\.npz has sha256"):
        published.open_folder(folder).bundle()


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingRecord, match=r"holds no manifest\.json"):
        published.open_folder(tmp_path)


def test_a_manifest_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(InvalidDataset, match="is not a manifest"):
        published.open_folder(tmp_path)
