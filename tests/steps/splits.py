"""Runs on a few ratings that are ready to be split."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mftasks.records import RunPlan, SplitConfig
from mftasks.steps.download import download
from mftasks.steps.validate import validate
from mftasks.store import keys
from mftasks.store.workspace import Workspace

Row = tuple[int, int, float, int]


HASH = SplitConfig(strategy="hash", test_fraction=0.2, valid_fraction=0.1)


def some_rows(n_users: int = 60, n_items: int = 45, seed: int = 3) -> list[Row]:
    """Return half of all pairs, in no order, half stars, rated one after the other."""
    random = np.random.default_rng(seed)
    pairs = random.permutation(n_users * n_items)[: n_users * n_items // 2]
    return [
        (int(pair // n_items) * 5 + 1, int(pair % n_items) * 7 + 2, random.integers(1, 11) / 2, at)
        for pair, at in zip(pairs, range(1_000_000_000, 1_000_000_000 + len(pairs)), strict=True)
    ]


def prepare(
    workspace: Workspace, tmp_path: Path, rows: list[Row], config: SplitConfig, run_id: str = "a"
) -> str:
    """Plan a run on these rows, download and validate them."""
    path = tmp_path / f"{run_id}.csv"
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(["user_id,item_id,rating,timestamp", *lines]))
    plan = RunPlan(
        run_id=run_id,
        dataset=path.as_uri(),
        split=config,
        trainings=(),
        created_at=datetime.now(UTC),
        code_version="0",
    )
    workspace.write(keys.run(run_id, "plan.json"), plan)
    download(workspace, run_id)
    validate(workspace, run_id)
    return run_id
