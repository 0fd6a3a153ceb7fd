"""Which keys a store signs with, and what a person reads if keys, rights or settings are wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mftasks.errors import InvalidPlan, StoreUnavailable
from mftasks.store import Store, open_store
from tests.store.s3_web import Answer, Request, S3Web, refuse


def write_keys(path: Path, key: str) -> None:
    path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")


def accept_only(web: S3Web, key: str, status: int, code: str) -> None:
    def answer(asked: Request) -> Answer:
        return Answer(200, b"yes") if asked.access_key == key else refuse(status, code)

    web.answer = answer


@pytest.fixture
def keys(tmp_path: Path, web: S3Web, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a file of keys, as a secret is mounted, that the process reads."""
    path = tmp_path / "credentials"
    write_keys(path, "first")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    return path


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ExpiredToken"),
        (400, "InvalidToken"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
    ],
)
def test_keys_that_are_renewed_while_a_process_lives_are_used(
    web: S3Web, keys: Path, status: int, code: str
) -> None:
    store = open_store("s3://bucket/prefix", s3_endpoint=web.endpoint)
    for name in ("second", "third"):
        write_keys(keys, name)
        accept_only(web, name, status, code)
        assert store.exists("key")  # HEAD, whose refusal names no reason
        write_keys(keys, f"{name}-again")
        accept_only(web, f"{name}-again", status, code)
        assert store.get("key") == b"yes"


def test_threads_that_share_a_store_all_go_on_with_renewed_keys(web: S3Web, keys: Path) -> None:
    store = open_store("s3://bucket/prefix", s3_endpoint=web.endpoint)
    write_keys(keys, "second")
    accept_only(web, "second", 403, "InvalidAccessKeyId")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(store.get, ["key"] * 16)) == [b"yes"] * 16


def test_a_store_opened_later_reads_the_environment_again(
    web: S3Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        open_store("s3://bucket", s3_endpoint=web.endpoint).exists("key")
    assert [asked.access_key for asked in web.requests] == ["first", "second"]


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "AccessDenied", "the keys need s3:GetObject"),
        (403, "InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "check AWS_ACCESS_KEY_ID"),
        (400, "AuthorizationHeaderMalformed", "set AWS_DEFAULT_REGION"),
        (400, "InvalidBucketName", "check its name"),
        (404, "NoSuchBucket", "create it, or check its name"),
        (501, "NotImplemented", "use another S3 server"),
    ],
)
def test_what_no_repetition_can_help_is_final_and_says_what_to_do(
    web: S3Web, s3: Store, status: int, code: str, advice: str
) -> None:
    web.answers = [refuse(status, code)]
    with pytest.raises(
        InvalidPlan, match=f"s3://bucket/prefix/key: bucket 'bucket': .*{code}.*{advice}"
    ):
        s3.get("key")
    assert len(web.requests) == 1


def test_an_expired_token_may_still_be_renewed(web: S3Web, s3: Store) -> None:
    web.answers = [refuse(400, "ExpiredToken")]
    with pytest.raises(StoreUnavailable, match="renew the keys"):
        s3.get("key")


def test_a_process_without_keys_learns_what_to_set(web: S3Web, keys: Path) -> None:
    keys.unlink()
    with pytest.raises(InvalidPlan, match="set AWS_ACCESS_KEY_ID"):
        open_store("s3://bucket", s3_endpoint=web.endpoint).get("key")


def test_an_endpoint_that_is_no_address_is_refused(web: S3Web) -> None:
    with pytest.raises(InvalidPlan, match=r"MF_S3_ENDPOINT 'localhost.*expected http://host:port"):
        open_store("s3://bucket", s3_endpoint="localhost:8333")


def test_a_profile_that_is_not_there_is_named(web: S3Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(InvalidPlan, match=r"nobody.*check AWS_PROFILE"):
        open_store("s3://bucket", s3_endpoint=web.endpoint)
