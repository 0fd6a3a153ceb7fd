"""The notebook's training loop against ours, interleaved, each run in a process of its own.

python benchmarks/bench.py [--quick]

Prints a table and writes output/bench.json, a list of {name, ours, theirs, ratio, unit, command}.
`ratio` says how many times less ours is. RMSE is pooled, of clipped predictions, on the test part of
fold u1, which is the yardstick here and chooses nothing. Both sides run on one thread, with the
settings of `mftasks.mx`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

console = Console()


class Duel(NamedTuple):
    """Set our configuration against the notebook's: changes to our notebook preset, and epochs."""

    name: str
    network: str
    epochs: int
    changes: dict[str, Any]
    to_their_best: bool = False


LAZY = {"lazy": True, "weight_decay": 0.0}
DUELS = (
    Duel("linear, same batch size and epochs", "linear", 25, LAZY),
    Duel("MLP, same batch size and epochs", "mlp", 20, {**LAZY, "l2": 0.05}),
    Duel("ResNet, same batch size, 8 epochs", "resnet", 8, {**LAZY, "epochs": 8}),
)


class Row(msgspec.Struct):
    """Hold one line of the table and of bench.json."""

    name: str
    ours: float
    theirs: float
    ratio: float
    unit: str
    command: str
