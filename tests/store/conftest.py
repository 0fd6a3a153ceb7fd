from __future__ import annotations

from collections.abc import Iterator

import pytest

from mftasks.store import Store, open_store
from tests.store import s3_web
from tests.store.s3_web import S3Web


@pytest.fixture(params=["workspace", pytest.param("s3_workspace", marks=pytest.mark.server)])
def store(request: pytest.FixtureRequest) -> Store:
    """Give a store in a folder, and one in a bucket of a real S3 server."""
    return request.getfixturevalue(request.param).store


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Web]:
    """Give a server that answers as a test asks it to, and keys for it."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "first")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with s3_web.running() as running:
        yield running


@pytest.fixture
def s3(web: S3Web) -> Store:
    """Give a store on that server."""
    return open_store("s3://bucket/prefix", s3_endpoint=web.endpoint)
