"""A small run, done by the real steps; each stage of it is made once, and copied for each test."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from mftasks.records import DatasetRef, Report
from mftasks.settings import Settings
from mftasks.steps.download import download
from mftasks.steps.evaluate import evaluate
from mftasks.steps.plan import plan
from mftasks.steps.publish import publish
from mftasks.steps.report import _gather, report
from mftasks.steps.split import split
from mftasks.steps.train import train
from mftasks.steps.validate import validate
from mftasks.store import keys
from mftasks.store.workspace import Workspace

RUN = "small"
DATASET = "films"
NETWORKS = ("linear", "mlp")
TITLES = {str(item): f"Film {item} (1999) <i>" for item in range(40)}
DAY = 86_400


def evaluated_run(folder: Path, preset: str = "default") -> Workspace:
    """Return a workspace of its own in `folder`, with a run that is trained and evaluated."""
    return _copy(_make_evaluated(preset), folder)


def reported_run(folder: Path, preset: str = "default") -> Workspace:
    """Return a workspace of its own in `folder`, with a run that has its report."""
    return _copy(_make_reported(preset), folder)


def published_run(folder: Path) -> Workspace:
    """Return a workspace of its own in `folder`, with a run that is published."""
    return _copy(_make_published(), folder)


def gather_report(workspace: Workspace) -> Report:
    """Return everything that the run of a workspace has found out."""
    return _gather(workspace, RUN)


def _copy(made: Path, folder: Path) -> Workspace:
    shutil.copytree(made / "store", folder / "store")
    return _workspace(folder)


@functools.cache
def _make_evaluated(preset: str) -> Path:
    folder = _folder()
    workspace = _workspace(folder)
    ratings = folder / "films.csv"
    ratings.write_text(_ratings())
    given = {
        "dataset": ratings.as_uri(),
        "networks": NETWORKS,
        "preset": preset,
        "epochs": 8,
        "batch_size": 50,
        "learning_rate": 0.02,
        "factors": 4,
    }
    plan(workspace, RUN, given)
    _give_titles(workspace, download(workspace, RUN))
    validate(workspace, RUN)
    split(workspace, RUN)
    for network in NETWORKS:
        train(workspace, RUN, network)
        evaluate(workspace, RUN, network)
    return folder


@functools.cache
def _make_reported(preset: str) -> Path:
    folder = _folder()
    report(evaluated_run(folder, preset), RUN)
    return folder


@functools.cache
def _make_published() -> Path:
    folder = _folder()
    publish(reported_run(folder), RUN)
    return folder


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="finished-run-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _workspace(folder: Path) -> Workspace:
    return Workspace(Settings(store=(folder / "store").as_uri(), cache=folder / "cache"))


def _ratings() -> str:
    random = np.random.default_rng(7)
    full = 3.5 + random.normal(0, 0.6, (60, 3)) @ random.normal(0, 0.8, (3, 40))
    users, items = np.nonzero(random.random((60, 40)) < 0.5)
    ratings = np.clip(np.rint(full[users, items]), 1, 5).astype(int)
    moments = 900_000_000 + DAY * np.arange(len(users))
    rows = zip(users, items, ratings, moments, strict=True)
    return "user_id,item_id,rating,timestamp\n" + "".join(
        f"{u},{i},{r},{t}\n" for u, i, r, t in rows
    )


def _give_titles(workspace: Workspace, dataset: DatasetRef) -> None:
    """Give the run's data set a short name and titles, as one of the catalogue has."""
    blob = workspace.put_blob(f"datasets/{dataset.sha256}/titles.json", json.dumps(TITLES).encode())
    record = msgspec.json.encode(msgspec.structs.replace(dataset, name=DATASET, titles=blob))
    workspace.store.put(keys.run(RUN, "download.json"), record, "application/json")
