from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from mftasks.published import index
from mftasks.published.retention import Removal, prune
from mftasks.records import BlobRef, DatasetRef, Manifest, SplitConfig, SplitRef
from mftasks.store.workspace import Workspace

OLD = 100  # days


def put(workspace: Workspace, days_ago: float, *keys: str, data: object = None) -> None:
    """Put objects that were last changed so many days ago."""
    for key in keys:
        workspace.store.put(key, json.dumps(data).encode(), "application/json")
    age(workspace, keys, days_ago)


def age(workspace: Workspace, keys: Iterable[str], days_ago: float) -> None:
    moment = time.time() - 86_400 * days_ago
    for key in keys:
        os.utime(workspace.store.root / key, (moment, moment))


def blob(key: str) -> BlobRef:
    return BlobRef(key=key, sha256="0", n_bytes=4)


def data_set(name: str, data: str) -> DatasetRef:
    ratings = blob(f"datasets/{data}/ratings.csv")
    return DatasetRef(name=name, source="", sha256=data, ratings=ratings)


def split_of(data: str) -> dict[str, object]:
    """Return of the record of a split what retention reads, and what msgspec insists on."""
    return msgspec.to_builtins(
        SplitRef(
            config=SplitConfig(strategy="hash"),
            dataset_sha256=data,
            fingerprint=data,
            parts={"train": blob(f"splits/{data}/train.npz")},
            vocabulary=blob(f"splits/{data}/vocabulary.npz"),
            sizes={},
            mean_rating=3.0,
            min_rating=1.0,
            max_rating=5.0,
        )
    )


def put_unpublished(workspace: Workspace, run: str, days_ago: float, data: str) -> None:
    """Put the records of a run on the data set and the split `data`, and these."""
    when = (workspace, days_ago)
    put(
        *when,
        f"datasets/{data}/ratings.csv",
        f"splits/{data}/train.npz",
        f"splits/{data}/split.json",
    )
    put(*when, f"runs/{run}/plan.json", f"runs/{run}/linear/train.json")
    download = msgspec.to_builtins(data_set("films", data))
    put(*when, f"runs/{run}/download.json", data=download)
    put(*when, f"runs/{run}/split.json", data=split_of(data))


def put_run(
    workspace: Workspace, run: str, days_ago: float, data: str, name: str = "films"
) -> None:
    """Put a published run on the data set and the split `data`, with its row."""
    put_unpublished(workspace, run, days_ago, data)
    manifest = Manifest(
        schema_version=1,
        run_id=run,
        published_at=datetime.now(UTC) - timedelta(days=days_ago),
        code_version="0",
        dataset=data_set(name, data),
        split_fingerprint=data,
        best="linear",
        scores=(),
        files=(),
    )
    put(workspace, days_ago, f"runs/{run}/manifest.json", data=msgspec.to_builtins(manifest))
    index.put(workspace, manifest)


def folders(removals: list[Removal]) -> list[str]:
    return [removal.folder for removal in removals]


def prune_older(workspace: Workspace, days: float = 90, **options: bool) -> list[str]:
    return folders(prune(workspace, datetime.now(UTC) - timedelta(days=days), **options))


def row_of(workspace: Workspace, run: str) -> list[str]:
    return [key for key in workspace.store.list("index/") if key.endswith(f".{run}.json")]
