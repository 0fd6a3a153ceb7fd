"""What every store must do, over a folder and over a real S3 server alike."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mftasks.errors import InvalidDataset, InvalidPlan, MissingRecord, StoreUnavailable
from mftasks.store import Store, open_store, s3
from mftasks.store.blobs import sha256_of
from mftasks.store.workspace import Workspace
from tests.waiting import wait

TEXT = "text/plain"


def test_what_was_put_is_read_back_whole(store: Store, tmp_path: Path) -> None:
    store.put("a/b.txt", b"hello", TEXT)
    store.download("a/b.txt", tmp_path / "copy")

    assert store.get("a/b.txt") == b"hello"
    assert (tmp_path / "copy").read_bytes() == b"hello"


def test_a_file_is_put_in_a_stream(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(range(256)) * 20_000)
    store.put("big", path, TEXT)

    store.download("big", tmp_path / "copy")
    assert sha256_of(tmp_path / "copy") == sha256_of(path)


def test_a_missing_key_is_named_in_the_error(store: Store, tmp_path: Path) -> None:
    for read in (store.get, store.get_with_etag, lambda key: store.download(key, tmp_path / "x")):
        with pytest.raises(MissingRecord, match="nothing/here"):
            read("nothing/here")
    assert not store.exists("nothing/here")


def test_put_if_absent_never_overwrites(store: Store) -> None:
    assert store.put_if_absent("once", b"first", TEXT)
    assert not store.put_if_absent("once", b"second", TEXT)
    assert store.get("once") == b"first"


def test_put_if_match_needs_the_etag_of_what_is_there(store: Store) -> None:
    store.put("pointer", b"one", TEXT)
    _, etag = store.get_with_etag("pointer")

    assert store.put_if_match("pointer", b"two", TEXT, etag)
    assert not store.put_if_match("pointer", b"three", TEXT, etag)
    assert store.get("pointer") == b"two"


def test_put_if_match_fails_if_nothing_is_there(store: Store) -> None:
    assert not store.put_if_match("absent", b"x", TEXT, '"0123456789abcdef"')


def test_of_racing_writers_exactly_one_wins(store: Store) -> None:
    won: list[int] = []

    def write(number: int) -> None:
        if store.put_if_absent("race", str(number).encode(), TEXT):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number).encode() for number in won] == [store.get("race")]


def test_of_racing_updates_none_is_lost(store: Store) -> None:
    store.put("count", b"0", TEXT)

    def count_up(_: int) -> None:
        won = False
        while not won:
            data, etag = store.get_with_etag("count")
            won = store.put_if_match("count", str(int(data) + 1).encode(), TEXT, etag)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, range(12)))
    assert store.get("count") == b"12"


def test_list_gives_sorted_keys_below_a_prefix(store: Store) -> None:
    for key in ("list/b", "list/a/c", "list/ab", "other"):
        store.put(key, b"", TEXT)

    assert store.list("list/") == ["list/a/c", "list/ab", "list/b"]
    assert store.list("list/a") == ["list/a/c", "list/ab"]
    assert store.list("nowhere/") == []


def test_names_that_begin_with_a_dot_are_listed_like_others(store: Store) -> None:
    for key in ("champions/.films.json", ".hidden/a", "b"):
        store.put(key, b"", TEXT)
    assert store.list("") == [".hidden/a", "b", "champions/.films.json"]


def test_the_empty_prefix_lists_everything_and_nothing_beside_the_store(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "store-is-not-this").write_text("")
    for key in ("b", "a/c"):
        store.put(key, b"", TEXT)
    assert store.list("") == ["a/c", "b"]


def test_a_list_with_times_has_sizes_and_when_each_was_put(store: Store) -> None:
    began = datetime.now(UTC) - timedelta(seconds=2)  # S3 gives whole seconds
    store.put("timed/b", b"12345", TEXT)
    store.put("timed/a/c", b"", TEXT)

    first, second = store.list_with_times("timed/")
    assert (first.key, first.n_bytes) == ("timed/a/c", 0)
    assert (second.key, second.n_bytes) == ("timed/b", 5)
    assert began <= second.modified <= datetime.now(UTC) + timedelta(seconds=1)
    assert second.modified.utcoffset() == timedelta(0)


def test_what_is_put_again_was_modified_again(store: Store) -> None:
    store.put("again", b"1", TEXT)
    [before] = store.list_with_times("again")

    def put_again() -> bool:
        store.put("again", b"2", TEXT)
        [after] = store.list_with_times("again")
        return after.modified > before.modified

    wait(put_again, 5, lambda: "S3 gives whole seconds")


def test_many_are_deleted_at_once_and_those_that_are_not_there_do_no_harm(store: Store) -> None:
    keys = [f"many/{number}" for number in range(25)]
    for key in [*keys, "kept"]:
        store.put(key, b"x", TEXT)
    store.delete_many([*keys, "many/never-there"])
    store.delete_many([])
    assert store.list("") == ["kept"]


def test_more_are_deleted_than_s3_takes_at_once(
    s3_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "MOST_DELETED_AT_ONCE", 3)
    for number in range(7):
        s3_workspace.store.put(f"many/{number}", b"x", TEXT)
    s3_workspace.store.delete_many(f"many/{number}" for number in range(7))
    assert s3_workspace.store.list("") == []


def test_delete_may_be_repeated(store: Store) -> None:
    store.put("gone", b"", TEXT)
    store.delete("gone")
    store.delete("gone")
    assert not store.exists("gone")


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/outside"])
def test_a_key_cannot_leave_the_store(store: Store, key: str) -> None:
    for use in (store.get, lambda key: store.put(key, b"", TEXT)):
        with pytest.raises(InvalidDataset, match="outside' leaves its folder"):
            use(key)


def test_a_dead_server_is_named(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(StoreUnavailable, match=endpoint):
        open_store("s3://bucket/prefix", s3_endpoint=endpoint).get("key")


def test_a_missing_bucket_is_named(s3_workspace, s3_server) -> None:
    store = open_store("s3://no-such-bucket", s3_endpoint=s3_server.endpoint)
    with pytest.raises(InvalidPlan, match="no-such-bucket"):
        store.get("key")


def test_a_hash_or_a_question_mark_belongs_to_the_place(tmp_path: Path, s3_workspace) -> None:
    endpoint = s3_workspace.settings.s3_endpoint
    for place in (f"file://{tmp_path}/a", "s3://tests/a"):
        first, second = (open_store(f"{place}{end}", s3_endpoint=endpoint) for end in ("#1", "?2"))
        first.put("key", b"", TEXT)
        assert (first.list(""), second.list("")) == (["key"], [])


@pytest.mark.parametrize("uri", ["ftp://host/path", "movies", "s3://", "file://host/path"])
def test_an_unknown_scheme_is_refused(uri: str) -> None:
    with pytest.raises(InvalidPlan, match=uri):
        open_store(uri)
