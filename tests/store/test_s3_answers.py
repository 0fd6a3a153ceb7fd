"""What a store in a bucket makes of answers that no good server gives often."""

from __future__ import annotations

from pathlib import Path

import pytest

from mftasks.errors import InvalidPlan, MfError, StoreUnavailable
from mftasks.store import Store, open_store
from tests.store.s3_web import Answer, S3Web, refuse

TEXT = "text/plain"
COLLISION = refuse(409, "ConditionalRequestConflict")
LOST = refuse(412, "PreconditionFailed")
HALF = Answer(200, b"half", announced=8)
WHOLE = Answer(200, b"half+all")


def list_answer(fields: str) -> Answer:
    head = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return Answer(200, f"{head}{fields}</ListBucketResult>".encode())


def test_a_put_that_collides_with_another_is_repeated(web: S3Web, s3: Store) -> None:
    web.answers = [COLLISION, COLLISION, Answer()]
    s3.put("key", b"x", TEXT)
    assert len(web.asked("PUT")) == 3


@pytest.mark.parametrize(("after", "won"), [(Answer(), True), (LOST, False)])
def test_only_a_repeated_put_shows_who_wins_a_collision(
    web: S3Web, s3: Store, after: Answer, won: bool
) -> None:
    web.answers = [COLLISION, after]
    assert s3.put_if_absent("key", b"x", TEXT) is won
    web.answers = [COLLISION, after]
    assert s3.put_if_match("key", b"x", TEXT, '"etag"') is won
    assert len(web.asked("PUT")) == 4


def test_an_update_of_a_key_that_is_not_there_fails_on_amazon_s3_too(web: S3Web, s3: Store) -> None:
    web.answers = [refuse(404, "NoSuchKey")]
    assert not s3.put_if_match("key", b"x", TEXT, '"etag"')


@pytest.mark.parametrize("answer", [COLLISION, LOST])
def test_whatever_a_server_answers_is_an_error_of_ours(
    web: S3Web, s3: Store, answer: Answer
) -> None:
    web.answers = [answer]
    for ask in (s3.get, s3.delete, s3.list, lambda key: s3.put(key, b"x", TEXT)):
        with pytest.raises(MfError, match="s3://bucket/prefix/key"):
            ask("key")


def test_a_body_that_breaks_off_is_read_again_from_its_start(
    web: S3Web, s3: Store, tmp_path: Path
) -> None:
    web.answers = [HALF, WHOLE]
    assert s3.get("key") == b"half+all"
    web.answers = [HALF, HALF, WHOLE]
    s3.download("key", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"half+all"


def test_a_body_that_always_breaks_off_is_given_up(web: S3Web, s3: Store) -> None:
    web.answers = [HALF]
    with pytest.raises(
        StoreUnavailable, match=rf"key at {web.endpoint}: 4 read, but total bytes expected is 8"
    ):
        s3.get("key")
    assert len(web.asked("GET")) == 4


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200),
        Answer(200, b"<html>Please log in</html>"),
        Answer(200, b"{}"),
        list_answer(""),
        list_answer("<IsTruncated>false</IsTruncated>"),
        list_answer("<Name>bucket</Name><IsTruncated>true</IsTruncated>"),
    ],
)
def test_an_answer_that_is_no_whole_list_is_not_an_empty_bucket(
    web: S3Web, s3: Store, answer: Answer
) -> None:
    web.answers = [answer]
    with pytest.raises(StoreUnavailable, match="s3://bucket/prefix"):
        s3.list("runs/")


def test_an_empty_list_is_one(web: S3Web, s3: Store) -> None:
    web.answers = [list_answer("<Name>bucket</Name><IsTruncated>false</IsTruncated>")]
    assert s3.list("runs/") == []


def test_a_server_that_ignores_conditions_is_refused(web: S3Web) -> None:
    web.probe = None
    s3 = open_store("s3://bucket", s3_endpoint=web.endpoint)
    for put in (
        lambda: s3.put_if_absent("key", b"x", TEXT),
        lambda: s3.put_if_match("key", b"x", TEXT, "e"),
    ):
        with pytest.raises(InvalidPlan, match=r"in spite of If-None-Match; use an S3 server"):
            put()
    assert web.asked("PUT") == []


def test_a_server_is_probed_once_a_store_and_the_probe_is_not_listed(s3_workspace) -> None:
    for number in range(3):
        assert s3_workspace.store.put_if_absent(f"key-{number}", b"x", TEXT)
    assert s3_workspace.store.list("") == ["key-0", "key-1", "key-2"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "MissingContentMD5"), (400, "InvalidRequest"), (501, "NotImplemented")],
)
def test_a_server_that_cannot_delete_many_is_asked_for_each(
    web: S3Web, s3: Store, status: int, code: str
) -> None:
    web.answer = lambda asked: refuse(status, code) if asked.method == "POST" else Answer(204)
    s3.delete_many(["a", "b"])
    assert [asked.path for asked in web.asked("DELETE")] == ["/bucket/prefix/a", "/bucket/prefix/b"]


def test_a_delete_that_is_refused_is_an_error(web: S3Web, s3: Store) -> None:
    refused = b"<Error><Key>x</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
    web.answers = [Answer(200, b"<DeleteResult>" + refused + b"</DeleteResult>")]
    with pytest.raises(StoreUnavailable, match="cannot delete x: AccessDenied no"):
        s3.delete_many(["x"])


def test_a_server_that_knows_no_checksums_is_given_none(web: S3Web, s3: Store) -> None:
    name = "x-amz-checksum-sha256"
    web.answer = lambda asked: refuse(501, "NotImplemented") if name in asked.headers else Answer()
    for _ in range(2):
        s3.put("key", b"x", TEXT)
    assert [name in asked.headers for asked in web.asked("PUT")] == [True, False, False]
