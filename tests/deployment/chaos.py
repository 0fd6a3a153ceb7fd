"""What every blow to a training must leave as it was, and how it is measured."""

from __future__ import annotations

import fcntl
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.deployment.deployed import CHECKPOINT_SECONDS, CONF, words
from tests.deployment.rows import TrainingRow
from tests.deployment.runs import Runs
from tests.deployment.training import Training
from tests.waiting import wait

LONG = CONF | {"networks": ["linear"], "epochs": 18, "batch_size": 50, "overrides": {}}
HURT_AT = 6  # epochs
NOTICED_SECONDS = 60.0


class Blow(NamedTuple):
    """Hold what a blow to a training did; None where there was nothing to notice or to resume."""

    noticed: float | None = None
    lost: int = 0
    again: float | None = None


@dataclass(frozen=True)
class Chaos:
    """Hold the files that an undisturbed run made, how long its epochs took, and what was measured."""

    runs: Runs
    reference: dict[str, str]
    epoch_seconds: float
    rows: list[TrainingRow] = field(default_factory=list)

    @property
    def epochs_between_checkpoints(self) -> int:
        """Return how many epochs may be lost: those of one interval, and of putting a checkpoint."""
        return math.ceil(2 * CHECKPOINT_SECONDS / self.epoch_seconds) + 1

    def training(self, run_id: str) -> Training:
        """Start a run where all is well; return its training once it has a checkpoint."""
        self.runs.mend()
        self.runs.begin(run_id, LONG)
        training = Training(self.runs.deployed, run_id)
        training.wait(lambda: max(training.epochs(), default=0) >= HURT_AT, 90)
        training.wait(training.checkpoints, 10)
        return training

    def survives(
        self,
        what: str,
        run_id: str,
        blow: Callable[[Training], Any],
        *,
        then: Callable[[Training], Any] = lambda training: None,
    ) -> Training:
        """Assert that a training survives a blow as promised; `then` follows once it is noticed."""
        training = self.training(run_id)
        self.ends_well(training, what, struck(training, blow, then=then))
        return training

    def leaves_nothing(self) -> None:
        """Assert that soon no process of a step is there, and no device is locked."""
        wait(lambda: not self._left_over(), 10, lambda: str(self._left_over()))

    def ends_well(self, training: Training, what: str, blow: Blow) -> None:
        """Assert that the run ends as if nothing had happened, and keep the row."""
        bundle = self.runs.published(training.run_id)
        said = self.runs.deployed.said(training.run_id)
        self.leaves_nothing()
        assert any(name.startswith(f"{training.network}/") for name in bundle)
        row = TrainingRow(
            what=what,
            noticed_seconds=blow.noticed,
            epochs_lost=blow.lost,
            again_seconds=blow.again,
            retries=training.task().try_number - 1,
            same_bundle=bundle.items() <= self.reference.items(),
        )
        self.rows.append(row)
        assert row.same_bundle, said
        assert row.epochs_lost <= max(1, row.retries) * self.epochs_between_checkpoints, said

    def _left_over(self) -> list[str]:
        deployment = self.runs.deployed.deployment
        steps = [
            str(process)
            for each in deployment.containers
            for process in each.processes()
            if "mftasks" in words(process)
        ]
        locks = deployment.folder.glob("host-*/leases/*.lock")
        return steps + [str(lock) for lock in locks if _is_locked(lock)]


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


def _is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
