"""What the scenarios share: one deployment, into which all faults are injected in a row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import programs
from tests.deployment import deployed
from tests.deployment.faults.runs import Runs


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    """Fail at once if a program is missing that a container runs in or runs."""
    for name in ("bwrap", "ip", "prometheus", "prometheus-alertmanager", "wget"):
        programs.path(name)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Give a deployment that is healthy, with two GPU workers on hosts of their own."""
    with deployed.with_two_gpu_workers(tmp_path_factory.mktemp("faults")) as running:
        yield Runs(running)
