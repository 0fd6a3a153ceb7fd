from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mftasks import published
from mftasks.data.arrays import read_part, read_vocabulary
from mftasks.errors import ChecksumMismatch, InvalidDataset, MissingRecord, UnknownNetwork
from mftasks.records import Manifest, SplitRef
from mftasks.store.workspace import Workspace, run_key
from tests.finished_run import RUN, TITLES, published_run


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return published_run(tmp_path)


@pytest.fixture
def manifest(workspace: Workspace) -> Manifest:
    return workspace.read(run_key(RUN, "manifest.json"), Manifest)


def put_manifest(workspace: Workspace, manifest: Manifest, **changes: object) -> Manifest:
    changed = msgspec.structs.replace(manifest, **changes)
    return workspace.write(run_key(changed.run_id, "manifest.json"), changed)


def test_the_latest_run_is_the_one_that_was_published_last(
    workspace: Workspace, manifest: Manifest
) -> None:
    later = manifest.published_at + timedelta(hours=1)
    put_manifest(workspace, manifest, run_id="a-later-one", published_at=later)
    earlier = datetime(2020, 1, 1, tzinfo=UTC)
    put_manifest(workspace, manifest, run_id="z-earlier-one", published_at=earlier)
    assert published.latest(workspace).run_id == "a-later-one"


def test_a_store_without_runs_says_so(tmp_path: Path) -> None:
    from mftasks.settings import Settings

    empty = Workspace(Settings(store=(tmp_path / "none").as_uri(), cache=tmp_path / "cache"))
    with pytest.raises(MissingRecord, match="holds no published run; start one first"):
        published.open_run(empty)


def test_a_run_that_is_not_published_is_missed(workspace: Workspace) -> None:
    with pytest.raises(MissingRecord, match=r"runs/nightly/manifest\.json is not there"):
        published.open_run(workspace, "nightly")


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


def test_what_a_user_rated_is_known_without_the_store(
    workspace: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    split = workspace.read(run_key(RUN, "split.json"), SplitRef)
    train = read_part(workspace.fetch(split.parts["train"]))
    vocabulary = read_vocabulary(workspace.fetch(split.vocabulary))
    run = published.open_folder(published.copy(workspace, manifest, tmp_path / "output"))
    for user, user_id in ((0, vocabulary.user_ids[0]), (59, str(vocabulary.user_ids[59]))):
        rated = run.rated_by(user_id)
        assert sorted(rated) == sorted(vocabulary.item_ids[train.items[train.users == user]])


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


def test_copying_again_mends_a_damaged_copy(
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
