"""What every scenario promises, and how it is measured: blows to a training, and how it ends."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.cluster import cluster
from tests.cluster.cluster import Cluster, Training
from tests.cluster.rows import Row
from tests.waiting import wait

CONF = {"networks": ["linear"], "epochs": 18, "patience": 0, "batch_size": 50}
HURT_AT = 6  # epochs
NOTICED_SECONDS = 60.0


class Blow(NamedTuple):
    """Hold what a blow to a training did; None where there was nothing to notice or to resume."""

    noticed: float | None = None
    lost: int = 0
    again: float | None = None


@dataclass(frozen=True)
class Chaos:
    """Hold a cluster, the conf of a run, the files of an undisturbed one, and what was measured."""

    cluster: Cluster
    conf: dict[str, Any]
    reference: dict[str, str]
    epoch_seconds: float
    rows: list[Row] = field(default_factory=list)

    @property
    def epochs_between_checkpoints(self) -> int:
        """Return how many epochs may be lost: those of one interval, and of putting a checkpoint."""
        return math.ceil(2 * cluster.CHECKPOINT_SECONDS / self.epoch_seconds) + 1

    def training(self, name: str) -> Training:
        """Start a run on both workers; return its training once it has a checkpoint."""
        self.cluster.both()
        training = self.cluster.train(name, self.conf)
        training.wait_for_epoch(HURT_AT)
        training.wait(lambda: bool(training.checkpoints()), 10)
        return training

    def survives(
        self,
        what: str,
        name: str,
        blow: Callable[[Training], Any],
        *,
        then: Callable[[Training], Any] = lambda training: None,
    ) -> Training:
        """Assert that a training survives a blow as promised; `then` follows once it is noticed."""
        training = self.training(name)
        self.ends_well(training, what, struck(training, blow, then=then))
        return training

    def leaves_nothing(self) -> None:
        """Assert that soon no process of a step is there, and no device is locked."""
        wait(lambda: not self.cluster.left_over(), 10, lambda: str(self.cluster.left_over()))

    def ends_well(
        self, training: Training, what: str, blow: Blow, *, retries: int | None = None
    ) -> None:
        """Assert that the run ends as if nothing had happened, and keep the row."""
        ended = self.cluster.wait_for_end(training.run_id)
        said = self.cluster.said(training.run_id)
        assert ended == "success", said
        self.leaves_nothing()
        bundle = self.cluster.bundle(training.run_id)
        assert any(name.startswith(f"{training.network}/") for name in bundle)
        row = Row(
            what=what,
            noticed_seconds=blow.noticed,
            epochs_lost=blow.lost,
            again_seconds=blow.again,
            retries=training.task().try_number - 1 if retries is None else retries,
            same_bundle=bundle.items() <= self.reference.items(),
        )
        self.rows.append(row)
        assert row.same_bundle, said
        assert row.epochs_lost <= max(1, row.retries) * self.epochs_between_checkpoints, said


def struck(
    training: Training,
    blow: Callable[[Training], Any],
    *,
    then: Callable[[Training], Any] = lambda training: None,
) -> Blow:
    """Deal a blow to a training, and wait until it trains again; `then` follows once it is noticed."""
    attempts, began = len(training.attempts()), time.monotonic()
    blow(training)
    training.wait(lambda: training.task().state != "running", NOTICED_SECONDS)
    noticed = time.monotonic() - began
    then(training)
    lost = training.goes_on(attempts)
    return Blow(noticed, lost, time.monotonic() - began)


def ratings(path: Path) -> Path:
    """Write 100,000 ratings of a seeded low-rank matrix of 2000 users and 800 items."""
    random = np.random.default_rng(7)
    full = 3.5 + random.normal(0, 0.6, (2000, 4)) @ random.normal(0, 0.6, (4, 800))
    users, items = np.divmod(random.choice(full.size, 100_000, replace=False), full.shape[1])
    stars = np.clip(np.rint(full[users, items]), 1, 5).astype(int)
    table = np.stack([users, items, stars], axis=1)
    np.savetxt(path, table, "%d", ",", header="user_id,item_id,rating", comments="")
    return path


def moments(said: str) -> Any:
    """Return the moments at which the epochs in a task's log were done."""
    stamps = re.findall(r'"timestamp":"([^"]+)Z".*"train \w+: epoch \d', said)
    return np.array(stamps, "datetime64[us]")


def epoch_seconds(training: Training) -> float:
    """Return how long an epoch takes."""
    return float(np.median(np.diff(moments(training.said()))) / np.timedelta64(1, "s"))
