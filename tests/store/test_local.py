from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mftasks.errors import StoreUnavailable
from mftasks.store import local
from mftasks.store.local import LocalStore

TEXT = "text/plain"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of a store."""
    return tmp_path / "store"


@pytest.mark.parametrize("change", ["put", "delete"])
def test_a_change_that_comes_while_an_update_compares_is_not_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    store = LocalStore(folder)
    store.put("pointer", b"one", TEXT)
    etag = store.get_with_etag("pointer")[1]
    compare = local.sha256_of
    changes = {
        "put": lambda: store.put("pointer", b"theirs", TEXT),
        "delete": lambda: store.delete("pointer"),
    }
    other = threading.Thread(target=changes[change])

    def compare_slowly(data: bytes | Path) -> str:
        found = compare(data)
        other.start()
        other.join(0.3)  # it ends within this time unless it waits for the update
        return found

    monkeypatch.setattr(local, "sha256_of", compare_slowly)
    assert store.put_if_match("pointer", b"ours", TEXT, etag)
    other.join()
    assert store.list("") == (["pointer"] if change == "put" else [])
    assert change == "delete" or store.get("pointer") == b"theirs"


def test_what_a_killed_writer_left_is_no_object(folder: Path) -> None:
    store = LocalStore(folder)
    store.put("runs/a", b"x", TEXT)
    (folder / "runs" / ".put-left").write_bytes(b"half")
    assert store.list("") == ["runs/a"]


def test_a_failed_put_leaves_nothing_behind(folder: Path) -> None:
    store = LocalStore(folder)
    for put in (store.put, store.put_if_absent):
        with pytest.raises(StoreUnavailable, match="cannot write half"):
            put("half", folder / "there-is-no-such-file", TEXT)
    assert store.list("") == []
    assert not list(folder.glob(".put-*"))
