"""Which key each record and blob has in the store; no other file spells one out.

datasets/<sha256>/…                      verified data, content-addressed
datasets/by-name/<name>.json             which data a release that never changes is
splits/<fingerprint>/…                   the parts of a data set; split.json is put last
runs/<run>/…                             records and pages of a run; manifest.json is put last
runs/<run>/<network>/…                   records, history, checkpoints/ and bundle/ of a network
index/<data set>/<time>.<run>.json       one row per published run
champions/<data set>.json                the run that is live
"""

from __future__ import annotations

from pathlib import PurePosixPath

from mftasks.errors import InvalidDataset, quote

DATASETS = "datasets/"
BY_NAME = f"{DATASETS}by-name"
SPLITS = "splits/"
RUNS = "runs/"
INDEX = "index/"
CHAMPIONS = "champions/"
MANIFEST = "manifest.json"


def data(sha256: str, name: str) -> str:
    """Return the key of a file of verified data."""
    return f"{DATASETS}{sha256}/{name}"


def data_by_name(name: str) -> str:
    """Return the key of the note that says which data a release is."""
    return f"{BY_NAME}/{name}.json"


def split(fingerprint: str, name: str = "") -> str:
    """Return the key of a file of a split, such as `train.npz`, or the folder of the split."""
    return f"{SPLITS}{fingerprint}/{name}" if name else f"{SPLITS}{fingerprint}"


def run(run_id: str, name: str = "") -> str:
    """Return the key of a file of a run, such as `plan.json`, or the folder of the run."""
    return f"{RUNS}{run_id}/{name}" if name else f"{RUNS}{run_id}"


def network(run_id: str, name: str, file: str) -> str:
    """Return the key of a file of one network of a run: `train.json`, `bundle/…`, …."""
    return f"{RUNS}{run_id}/{name}/{file}"


def index_row(dataset: str, published: str, run_id: str) -> str:
    """Return the key of the row of a run that was published at a time."""
    return f"{INDEX}{dataset}/{published}.{run_id}.json"


def folder(key: str) -> str:
    """Return the folder that is kept or removed as a whole: `runs/nightly-7`, `datasets/<sha256>`."""
    return "/".join(key.split("/")[:2])


def check(key: str) -> str:
    """Return a key or a file's name; raises `InvalidDataset` if it leaves the folder that it is in."""
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidDataset(
            f"{quote(key)} leaves its folder; expected a relative name without '..'"
        )
    return key
