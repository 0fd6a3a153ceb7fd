"""What every store must do, over a folder and over a real S3 server alike."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from mftasks.blobs import sha256_of
from mftasks.errors import InvalidPlan, MissingRecord, StoreUnavailable
from mftasks.store import Store, open_store

TEXT = "text/plain"


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    name = "workspace" if request.param == "file" else "s3_workspace"
    return request.getfixturevalue(name).store


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


def test_put_if_match_fails_where_nothing_is(store: Store) -> None:
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


def test_list_gives_sorted_keys_below_a_prefix(store: Store) -> None:
    for key in ("list/b", "list/a/c", "list/ab", "other"):
        store.put(key, b"", TEXT)

    assert store.list("list/") == ["list/a/c", "list/ab", "list/b"]
    assert store.list("list/a") == ["list/a/c", "list/ab"]
    assert store.list("nowhere/") == []


def test_delete_may_be_repeated(store: Store) -> None:
    store.put("gone", b"", TEXT)
    store.delete("gone")
    store.delete("gone")
    assert not store.exists("gone")


def test_a_failed_put_leaves_nothing_behind(workspace, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        workspace.store.put("half", tmp_path / "there-is-no-such-file", TEXT)
    assert workspace.store.list("") == []
    assert not list((tmp_path / "store").glob(".put-*"))


def test_a_key_cannot_leave_the_folder(workspace) -> None:
    with pytest.raises(InvalidPlan, match=r"\.\./outside"):
        workspace.store.put("../outside", b"", TEXT)


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


@pytest.mark.parametrize("uri", ["ftp://host/path", "movies", "s3://", "file://host/path"])
def test_an_unknown_scheme_is_refused(uri: str) -> None:
    with pytest.raises(InvalidPlan, match=uri):
        open_store(uri)
