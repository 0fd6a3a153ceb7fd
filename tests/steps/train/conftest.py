"""What tests of training share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mftasks.data.arrays import Part
from mftasks.store.workspace import Workspace
from tests.steps.train.trainings import put_plan, put_split


@pytest.fixture
def planned(workspace: Workspace, tiny_ratings: Part) -> Callable[..., Workspace]:
    """Give a function that puts plan and split of the tiny matrix into a workspace."""

    def put(run_id: str = "r", into: Workspace = workspace, **changes: Any) -> Workspace:
        put_plan(into, run_id, **changes)
        put_split(into, run_id, tiny_ratings)
        return into

    return put
