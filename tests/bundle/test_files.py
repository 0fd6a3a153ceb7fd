from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from mftasks import bundle
from mftasks.errors import ChecksumMismatch, InvalidDataset, InvalidPlan, MissingRecord
from mftasks.store.workspace import Workspace
from tests.bundle.exports import INT_IDS


@pytest.mark.parametrize("name", [name for name in bundle.FILES if name != bundle.INDEX])
def test_an_altered_file_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ChecksumMismatch, match=name):
        bundle.load(folder)


@pytest.mark.parametrize("name", list(bundle.FILES))
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingRecord, match=f"{name} is not there"):
        bundle.load(folder)


def test_an_index_of_something_else_is_refused(folder: Path) -> None:
    (folder / bundle.INDEX).write_text('{"name": "a package"}')
    with pytest.raises(InvalidDataset, match="is not that of a bundle"):
        bundle.load(folder)


def test_a_bundle_of_a_later_format_is_refused(folder: Path) -> None:
    index = msgspec.json.decode((folder / bundle.INDEX).read_bytes())
    (folder / bundle.INDEX).write_bytes(msgspec.json.encode({**index, "format": 2}))
    with pytest.raises(InvalidPlan, match="format 2; this code reads 1"):
        bundle.load(folder)


def test_a_file_uri_loads_like_a_folder(folder: Path) -> None:
    assert bundle.load(folder.as_uri() + "/").header == bundle.load(str(folder)).header


def test_an_s3_uri_loads_like_a_folder(folder: Path, s3_workspace: Workspace) -> None:
    for name, content_type in bundle.FILES.items():
        s3_workspace.store.put(f"runs/1/linear/bundle/{name}", folder / name, content_type)
    loaded = bundle.load(f"{s3_workspace.store.uri}/runs/1/linear/bundle")
    np.testing.assert_array_equal(
        loaded.predict(5, INT_IDS.item_ids), bundle.load(folder).predict(5, INT_IDS.item_ids)
    )
