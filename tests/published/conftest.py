from __future__ import annotations

from pathlib import Path

import pytest

from mftasks.records import Manifest
from mftasks.store.workspace import Workspace, run_key
from tests.finished_run import RUN, published_run


@pytest.fixture
def finished(tmp_path: Path) -> Workspace:
    return published_run(tmp_path)


@pytest.fixture
def manifest(finished: Workspace) -> Manifest:
    return finished.read(run_key(RUN, "manifest.json"), Manifest)
