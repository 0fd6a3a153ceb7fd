from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mftasks.errors import ChecksumMismatch, InvalidDataset, MissingRecord, StoreUnavailable
from mftasks.records import SplitConfig
from mftasks.settings import Settings
from mftasks.store.workspace import Workspace


def test_the_first_record_written_stays(workspace: Workspace) -> None:
    first, second = SplitConfig(strategy="hash"), SplitConfig(strategy="temporal")

    assert workspace.write("x.json", first) == first
    assert workspace.write("x.json", second) == first
    assert workspace.read("x.json", SplitConfig) == first


def test_a_missing_record_is_found_as_none(workspace: Workspace) -> None:
    assert workspace.find("x.json", SplitConfig) is None
    with pytest.raises(MissingRecord, match=r"x\.json"):
        workspace.read("x.json", SplitConfig)


def test_a_record_of_other_code_is_read_if_its_known_fields_fit(workspace: Workspace) -> None:
    workspace.store.put("x.json", b'{"strategy": "hash", "added_later": 3}', "application/json")
    assert workspace.read("x.json", SplitConfig) == SplitConfig(strategy="hash")

    workspace.store.put("x.json", b'{"strategy": "hash", "fold": "one"}', "application/json")
    with pytest.raises(InvalidDataset, match=r"x\.json is not a SplitConfig: .*fold"):
        workspace.read("x.json", SplitConfig)


def test_a_blob_is_fetched_once_and_then_served_from_the_cache(workspace: Workspace) -> None:
    ref = workspace.put_blob("blob", b"bytes")
    path = workspace.fetch(ref)
    workspace.store.delete("blob")

    assert workspace.fetch(ref) == path
    assert path.read_bytes() == b"bytes"


def test_an_altered_blob_is_refused_and_not_cached(workspace: Workspace) -> None:
    ref = workspace.put_blob("blob", b"bytes")
    workspace.store.put("blob", b"BYTES", "text/plain")
    for _ in range(2):
        with pytest.raises(ChecksumMismatch, match=ref.sha256):
            workspace.fetch(ref)
    assert not [path for path in workspace.cache.folder.rglob("*") if path.is_file()]


def test_putting_again_repairs_what_is_there(workspace: Workspace) -> None:
    ref = workspace.put_blob("blob", b"bytes")
    workspace.store.put("blob", b"BYTES", "text/plain")
    assert workspace.put_blob("blob", b"bytes") == ref
    assert workspace.fetch(ref).read_bytes() == b"bytes"


def test_putting_the_same_blob_twice_is_harmless(workspace: Workspace) -> None:
    assert workspace.put_blob("blob", b"bytes") == workspace.put_blob("blob", b"bytes")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    workspace = Workspace(Settings(store=(tmp_path / "store").as_uri(), cache=tmp_path / "cache"))
    ref = workspace.put_blob("blob", b"bytes")
    with pytest.raises(StoreUnavailable, match="MF_CACHE"):
        workspace.fetch(ref)


def test_a_full_disk_is_named_as_the_cache_s_and_leaves_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = workspace.put_blob("datasets/x", b"abc")

    def fill(key: str, path: Path) -> None:
        path.write_bytes(b"a")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(workspace.store, "download", fill)
    with pytest.raises(StoreUnavailable, match=r"cache .*No space left on device; free some room"):
        workspace.fetch(ref)
    assert not [path for path in workspace.cache.folder.rglob("*") if path.is_file()]
