"""Run one side of a duel in a process of its own, on parts that the pipeline's own steps made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mftasks import settings
from mftasks.data.arrays import read_part
from mftasks.steps.download import download
from mftasks.steps.plan import plan
from mftasks.steps.split import split
from mftasks.steps.validate import validate
from mftasks.store.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent


class Epoch(msgspec.Struct, frozen=True):
    """The test RMSE after an epoch, and the CPU and wall seconds until then."""

    rmse: float
    cpu: float
    wall: float


class Run(msgspec.Struct, frozen=True):
    """What one process measured of its training."""

    epochs: tuple[Epoch, ...]
    peak_rss_bytes: int


def run(module: str, job: dict[str, Any]) -> Run:
    """Run `module` on `job` and return what it measured.

    Both sides get one thread, with which each is quickest.
    """
    child = subprocess.run(
        [sys.executable, "-m", module, json.dumps(job)],
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(settings.THREADS, "1"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        sys.exit(f"{module} {json.dumps(job)} failed:\n{child.stderr}")
    return msgspec.json.decode(child.stdout.splitlines()[-1], type=Run)


def write_parts(folder: Path) -> Path:
    """Write train and test part of fold u1 into one npz file, as the notebook preset splits them."""
    here = msgspec.structs.replace(settings.read(), store=(folder / "store").as_uri())
    workspace = Workspace(here)
    plan(workspace, "benchmark", {"preset": "notebook"})
    for step in (download, validate):
        step(workspace, "benchmark")
    made = split(workspace, "benchmark")
    arrays = {
        f"{name}_{field}": array
        for name in ("train", "test")
        for field, array in read_part(workspace.fetch(made.parts[name]))._asdict().items()
    }
    path = folder / "parts.npz"
    np.savez(path, **arrays)
    return path
