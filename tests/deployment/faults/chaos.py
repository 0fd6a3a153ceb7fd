"""What no fault may change in the result of a training, and how its effect is measured."""

from __future__ import annotations

import fcntl
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.deployment.deployed import CHECKPOINT_SECONDS, CONF, words
from tests.deployment.faults.rows import TrainingRow
from tests.deployment.faults.runs import Runs
from tests.deployment.faults.training import Training
from tests.waiting import wait

LONG = CONF | {"networks": ["linear"], "epochs": 18, "batch_size": 50, "overrides": {}}
FAULT_AT = 6  # epochs


class Effect(NamedTuple):
    """What a fault did to a training; None if there was nothing to notice or to resume."""

    noticed: float | None = None
    lost: int = 0
    again: float | None = None


@dataclass(frozen=True)
class Chaos:
    """The files that an undisturbed run made, how long its epochs took, and what was measured."""

    runs: Runs
    reference: dict[str, str]
    epoch_seconds: float
    rows: list[TrainingRow] = field(default_factory=list)

    @property
    def epochs_between_checkpoints(self) -> int:
        """Return how many epochs may be lost: those of one interval, and of putting a checkpoint."""
        return math.ceil(2 * CHECKPOINT_SECONDS / self.epoch_seconds) + 1

    def training(self, run_id: str) -> Training:
        """Start a run when all is well; return its training once it has a checkpoint."""
        self.runs.repair()
        self.runs.begin(run_id, LONG)
        training = Training(self.runs.deployed, run_id)
        training.wait(lambda: max(training.epochs(), default=0) >= FAULT_AT)
        training.wait(training.checkpoints)
        return training

    def survives(
        self,
        what: str,
        run_id: str,
        fault: Callable[[Training], Any],
        *,
        then: Callable[[Training], Any] = lambda training: None,
    ) -> Training:
        """Assert that a training survives a fault as promised; `then` follows once it is noticed."""
        training = self.training(run_id)
        self.ends_well(training, what, inject(training, fault, then=then))
        return training

    def leaves_nothing(self) -> None:
        """Assert that soon no process of a step is there, and no device is locked."""
        wait(lambda: not self._left_over(), 60, self._left_over)

    def ends_well(self, training: Training, what: str, effect: Effect) -> None:
        """Assert that the run ends as if nothing had happened, and keep the row."""
        bundle = self.runs.published(training.run_id)
        state = self.runs.deployed.describe(training.run_id)
        self.leaves_nothing()
        assert any(name.startswith(f"{training.network}/") for name in bundle)
        row = TrainingRow(
            what=what,
            noticed_seconds=effect.noticed,
            epochs_lost=effect.lost,
            again_seconds=effect.again,
            retries=training.task().try_number - 1,
            same_bundle=bundle.items() <= self.reference.items(),
        )
        self.rows.append(row)
        assert row.same_bundle, state
        assert row.epochs_lost <= max(1, row.retries) * self.epochs_between_checkpoints, state

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


def inject(
    training: Training,
    fault: Callable[[Training], Any],
    *,
    then: Callable[[Training], Any] = lambda training: None,
) -> Effect:
    """Inject a fault into a training, and wait until it trains again; `then` follows once it is noticed."""
    attempts, began = len(training.attempts()), time.monotonic()
    fault(training)
    training.wait(lambda: training.task().state != "running")
    noticed = time.monotonic() - began
    then(training)
    lost = training.wait_until_it_goes_on(attempts)
    return Effect(noticed, lost, time.monotonic() - began)


def _is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
