from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mftasks import published
from mftasks.errors import (
    ChecksumMismatch,
    InvalidDataset,
)
from mftasks.records import Manifest
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.finished_run import RUN
from tests.published.manifests import put_manifest


def test_a_copy_holds_every_file_and_predicts_the_same(
    finished: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    folder = published.copy(finished, manifest, tmp_path / "output" / RUN)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {file.name for file in manifest.files} | {"manifest.json"}
    copied = published.open_folder(folder)
    assert copied.manifest == manifest
    np.testing.assert_array_equal(
        copied.bundle().predict(3, np.arange(40)),
        published.open_run(finished).bundle().predict(3, np.arange(40)),
    )
    assert [path.name for path in folder.parent.iterdir()] == [RUN]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o077, 0o700)])
def test_a_copy_is_readable_to_whom_the_umask_says(
    finished: Workspace, manifest: Manifest, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        folder = published.copy(finished, manifest, tmp_path / RUN)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == mode


def test_copying_again_leaves_a_whole_copy_alone(
    finished: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    folder = published.copy(finished, manifest, tmp_path / RUN)
    before = folder.stat().st_ino
    published.copy(finished, manifest, folder)
    assert folder.stat().st_ino == before


def test_copying_again_repairs_a_damaged_copy(
    finished: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    folder = published.copy(finished, manifest, tmp_path / "output" / RUN)
    (folder / "report.html").write_text("better news")
    (folder / "stray.txt").write_text("left behind")
    published.copy(finished, manifest, folder)
    assert "better news" not in (folder / "report.html").read_text()
    assert not (folder / "stray.txt").exists()
    assert [path.name for path in folder.parent.iterdir()] == [RUN]


def test_an_altered_object_leaves_no_copy(
    finished: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    finished.store.put(keys.run(RUN, "mlp/history.csv"), b"epoch\n", "text/csv")
    with pytest.raises(ChecksumMismatch, match=r"history\.csv has sha256"):
        published.copy(finished, manifest, tmp_path / "output" / RUN)
    assert list((tmp_path / "output").iterdir()) == []


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt"])
def test_a_manifest_cannot_write_outside_its_folder(
    finished: Workspace, manifest: Manifest, tmp_path: Path, name: str
) -> None:
    hostile = msgspec.structs.replace(manifest.files[0], name=name)
    changed = put_manifest(finished, manifest, run_id="hostile", files=(hostile,))
    with pytest.raises(InvalidDataset, match="leaves its folder"):
        published.copy(finished, changed, tmp_path / "output" / "hostile")


def test_a_damaged_copy_does_not_predict(
    finished: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    folder = published.copy(finished, manifest, tmp_path / RUN)
    (folder / manifest.best / "bundle" / "vocabulary.npz").write_bytes(b"")
    with pytest.raises(ChecksumMismatch, match=r"vocabulary\.npz has sha256"):
        published.open_folder(folder).bundle()
