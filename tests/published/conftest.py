from __future__ import annotations

from pathlib import Path

import pytest

from mftasks.records import Manifest
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.finished_run import RUN, published_run


@pytest.fixture
def finished(tmp_path: Path) -> Workspace:
    return published_run(tmp_path)


@pytest.fixture
def manifest(finished: Workspace) -> Manifest:
    return finished.read(keys.run(RUN, "manifest.json"), Manifest)
