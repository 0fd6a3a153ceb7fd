from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mftasks.settings import Settings
from mftasks.store.cache import IN_USE_SECONDS, Cache
from mftasks.store.workspace import Workspace


def put_copy(workspace: Workspace, key: str, unused_hours: float) -> Path:
    path = workspace.fetch(workspace.put_blob(key, key.encode() * 100))
    used_at = time.time() - unused_hours * 3600
    os.utime(path, (used_at, used_at))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Workspace:
    """Give a workspace whose cache holds two blobs of 100 bytes, and a bit."""
    store = (tmp_path / "store").as_uri()
    return Workspace(Settings(store=store, cache=tmp_path / "cache", cache_bytes=250))


def test_copies_that_were_used_longest_ago_make_room_for_new_ones(small: Workspace) -> None:
    oldest, older = put_copy(small, "a", unused_hours=9), put_copy(small, "b", unused_hours=8)
    newest = put_copy(small, "c", unused_hours=0)
    assert [path.exists() for path in (oldest, older, newest)] == [False, True, True]


def test_a_copy_that_is_read_again_counts_as_used(small: Workspace) -> None:
    first, second = put_copy(small, "a", unused_hours=9), put_copy(small, "b", unused_hours=8)
    assert small.fetch(small.put_blob("a", b"a" * 100)) == first
    put_copy(small, "c", unused_hours=0)
    assert [path.exists() for path in (first, second)] == [True, False]


def test_a_copy_that_a_step_may_be_reading_stays_though_the_cache_is_full(small: Workspace) -> None:
    paths = [put_copy(small, key, unused_hours=IN_USE_SECONDS / 3600 - 0.1) for key in "abcd"]
    assert all(path.exists() for path in paths)


def test_what_killed_processes_left_makes_room_first_and_other_files_stay(small: Workspace) -> None:
    left = [small.cache.folder / folder / "file" for folder in (".fetch-x", ".download-x", "notes")]
    for path in left:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 200)
        os.utime(path, (0, 0))
    copy = put_copy(small, "a", unused_hours=9)
    assert [path.exists() for path in (*left, copy)] == [False, False, True, True]


def test_a_copy_of_another_size_is_not_trusted(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    path = cache.path("ab12")
    path.parent.mkdir()
    path.write_bytes(b"half")
    assert cache.find("ab12", 8) is None


@pytest.mark.parametrize("look", ["listdir", "scandir"])
def test_a_folder_of_another_process_that_vanishes_meanwhile_is_passed_over(
    small: Workspace, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    left = small.cache.folder / ".fetch-other"
    real = getattr(os, look)

    def look_late(folder: object = ".") -> object:
        if str(folder) == str(left):
            left.rmdir()
        return real(folder)

    put_copy(small, "a", unused_hours=9)
    left.mkdir()
    monkeypatch.setattr(os, look, look_late)
    assert put_copy(small, "b", unused_hours=8).exists()
