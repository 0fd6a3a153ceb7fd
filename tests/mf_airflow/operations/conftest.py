"""What the tests of operations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
