"""What the scenarios share: one deployment, so that one command runs all that hurt it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deployment import deployed
from tests.deployment.runs import Runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Give a deployment that is healthy, with two GPU workers on hosts of their own, to be hurt."""
    with deployed.with_two_gpu_workers(tmp_path_factory.mktemp("hurt")) as running:
        yield Runs(running)
