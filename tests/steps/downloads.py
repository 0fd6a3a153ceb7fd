"""Runs that plan a data set, and a site that publishes it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import msgspec
import pytest

from mftasks.data import catalog
from mftasks.records import RunPlan, SplitConfig
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests import movielens
from tests.web import Answer, Web


def plan_run(workspace: Workspace, dataset: str, run_id: str = "a") -> str:
    plan = RunPlan(
        run_id=run_id,
        dataset=dataset,
        split=SplitConfig(strategy="hash", test_fraction=0.2),
        trainings=(),
        created_at=datetime.now(UTC),
        code_version="0",
    )
    workspace.write(keys.run(run_id, "plan.json"), plan)
    return run_id


def change_settings(workspace: Workspace, **changes: object) -> Workspace:
    """Return the workspace under other settings."""
    return Workspace(msgspec.structs.replace(workspace.settings, **changes))


def publish_rows(monkeypatch: pytest.MonkeyPatch, site: Web, name: str) -> bytes:
    """Publish a few rows as the data set `name`, pinned by the md5 of their zip."""
    dataset = catalog.DATASETS[name]
    rows = movielens.ROWS
    if dataset.scale.low == 0.5:
        rows = movielens.half_stars(rows)
    data = movielens.archive(dataset, rows)
    if dataset.archive_md5:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        dataset = dataset._replace(archive_md5=md5, ratings_sha256=None, mirror=None)
        monkeypatch.setitem(catalog.DATASETS, name, dataset)
    site.serve(f"/{dataset.archive}", Answer(data))
    return movielens.ratings(dataset.format, rows)
