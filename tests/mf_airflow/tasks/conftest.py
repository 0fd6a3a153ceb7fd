from __future__ import annotations

from pathlib import Path

import pytest

from mftasks import settings
from mftasks.steps.download import download
from mftasks.steps.plan import plan
from mftasks.steps.split import split
from mftasks.steps.validate import validate
from mftasks.store.workspace import Workspace


@pytest.fixture
def split_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Give a workspace with a run on a few ratings that is ready for training."""
    ratings = tmp_path / "ratings.csv"
    rows = [f"{user},{item},{1 + (user * item) % 5}" for user in range(40) for item in range(25)]
    ratings.write_text("\n".join(["user_id,item_id,rating", *rows]))
    monkeypatch.setenv("MF_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MF_CACHE", str(tmp_path / "cache"))
    workspace = Workspace(settings.read())
    plan(workspace, "try-1", {"dataset": ratings.as_uri(), "networks": ["mlp"], "epochs": 3})
    download(workspace, "try-1")
    validate(workspace, "try-1")
    split(workspace, "try-1")
    return workspace
