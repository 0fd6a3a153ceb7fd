"""What the tests of operations share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mf_airflow.operations import backup
from mftasks.store import Store, open_store
from tests.finished_run import RUN, published_run
from tests.mf_airflow.operations import deployment
from tests.mf_airflow.operations.deployment import Database, Deployments


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployments]:
    """Give a PostgreSQL in which Airflow has been prepared once; each test takes a copy."""
    with deployment.running(tmp_path_factory.mktemp("deployment")) as running:
        yield running


@pytest.fixture
def target(deployments: Deployments) -> Iterator[Database]:
    """Give an empty database."""
    made = deployments.empty()
    yield made
    deployments.drop(made)


@pytest.fixture
def backed_up(deployments: Deployments, tmp_path: Path) -> Path:
    """Give the folder of a backup of a published run in a store that is a folder."""
    store = published_run(tmp_path / "run").store
    store.put("champions/films.json", json.dumps({"run_id": RUN}).encode(), "application/json")
    source = deployments.copy()
    made = backup.backup(
        tmp_path / "backup", database=source.url, store=store, fernet_keys=deployments.fernet_key
    )
    deployments.drop(source)
    assert made.store == store.uri
    return tmp_path / "backup"


@pytest.fixture
def fresh(tmp_path: Path) -> Store:
    """Give an empty store."""
    return open_store((tmp_path / "fresh").as_uri())
