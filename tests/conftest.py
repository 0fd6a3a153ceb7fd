"""Workspaces over real stores, a small matrix of ratings, and the order and marks of all tests."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mf_airflow.embedded import servers
from mf_airflow.embedded.servers import S3Server
from mftasks.data.arrays import Part
from mftasks.settings import Settings
from mftasks.store.workspace import Workspace
from tests import starts_server, web
from tests.web import Web

gc.disable()  # until all is imported
# First, so that none of them is left alone in the end.
LONGEST = ("deployment", "integration", "operations", "monitoring", "browser")


def pytest_configure() -> None:
    """Let a command under test be stopped by Ctrl+C, although `make test &` and CI ignore that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    starts_server.mark(items)
    rooms = {room: place for place, room in enumerate(LONGEST)}
    items.sort(key=lambda item: rooms.get(item.path.parent.name, len(rooms)))
    gc.freeze()  # A training collects garbage: let it not look at all that was imported.
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with starts_server.refused_unless_marked(item):
        return (yield)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Give a workspace over a fresh folder, with a cache of its own."""
    return Workspace(Settings(store=(tmp_path / "store").as_uri(), cache=tmp_path / "cache"))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Give a running SeaweedFS."""
    with servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs"), bucket="tests") as server:
        yield server


@pytest.fixture
def s3_workspace(
    s3_server: S3Server, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch
) -> Workspace:
    """Give a workspace over a prefix of its own in a real S3 server."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    prefix = request.node.name.replace("[", "-").replace("]", "")
    return Workspace(
        Settings(
            store=f"s3://tests/{prefix}", s3_endpoint=s3_server.endpoint, cache=tmp_path / "cache"
        )
    )


@pytest.fixture
def site() -> Iterator[Web]:
    """Give a web server on loopback whose answers the test chooses."""
    with web.running() as running:
        yield running


@pytest.fixture
def tiny_ratings() -> Part:
    """Give a seeded low-rank 60 × 40 matrix, of which 40 % is observed, in 1…5."""
    random = np.random.default_rng(7)
    full = 3.5 + random.normal(0, 0.6, (60, 3)) @ random.normal(0, 0.8, (3, 40))
    users, items = np.nonzero(random.random((60, 40)) < 0.4)
    ratings = np.clip(np.rint(full[users, items]), 1, 5)
    return Part(users.astype(np.int32), items.astype(np.int32), ratings.astype(np.float32))
