"""What docker-compose.yaml says with a fresh .env."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.docker import compose


@pytest.fixture(scope="session")
def env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a fresh .env."""
    return compose.make_env(tmp_path_factory.mktemp("env"))


@pytest.fixture(scope="session")
def whole(env: Path) -> dict[str, Any]:
    """Give all that the file says with a fresh .env."""
    return compose.read(env)


@pytest.fixture(scope="session")
def services(whole: dict[str, Any]) -> dict[str, Any]:
    return whole["services"]
