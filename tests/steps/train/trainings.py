"""A plan and a split of the tiny matrix, and what tests ask of a training of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mftasks.data.arrays import Part, Vocabulary, to_npz
from mftasks.records import PartSize, RunPlan, SplitConfig, SplitRef, TrainConfig, TrainResult
from mftasks.store import keys
from mftasks.store.workspace import Workspace

ROOT = Path(__file__).parents[3]


def put_plan(workspace: Workspace, run_id: str, devices: int = 1, **changes: Any) -> None:
    given = {"network": "linear", "epochs": 4, "batch_size": 64, "learning_rate": 0.02}
    config = TrainConfig(**{**given, "params": {"factors": 8}, **changes})
    plan = RunPlan(
        run_id=run_id,
        dataset="tiny",
        split=SplitConfig(strategy="hash"),
        trainings=(config,),
        devices=devices,
        created_at=datetime.now(UTC),
        code_version="1",
    )
    workspace.write(keys.run(run_id, "plan.json"), plan)


def put_split(workspace: Workspace, run_id: str, ratings: Part) -> None:
    held = (np.arange(len(ratings.ratings)) % 5 == 0) | (ratings.users == 7)
    parts = {
        "train": Part(*(array[~held] for array in ratings)),
        "valid": Part(*(array[held] for array in ratings)),
    }
    parts["valid"].users[parts["valid"].users == 7] = -1
    vocabulary = Vocabulary(np.arange(60) + 100, np.arange(40) + 500)
    put = workspace.put_blob
    split = SplitRef(
        config=SplitConfig(strategy="hash"),
        dataset_sha256="d",
        fingerprint="f",
        parts={name: put(f"splits/f/{name}.npz", to_npz(part)) for name, part in parts.items()},
        vocabulary=put("splits/f/vocabulary.npz", to_npz(vocabulary)),
        sizes={
            name: PartSize(n_ratings=len(part.ratings), n_users=60, n_items=40)
            for name, part in parts.items()
        },
        mean_rating=float(parts["train"].ratings.mean()),
        min_rating=1.0,
        max_rating=5.0,
    )
    workspace.write(keys.run(run_id, "split.json"), split)


def list_digests(result: TrainResult) -> dict[str, str]:
    return {name: ref.sha256 for name, ref in result.bundle.files.items()}


def make_environment(workspace: Workspace) -> dict[str, str]:
    store, cache = workspace.settings.store, str(workspace.settings.cache)
    return os.environ | {"MF_STORE": store, "MF_CACHE": cache, "MF_PROGRESS": "json"}
