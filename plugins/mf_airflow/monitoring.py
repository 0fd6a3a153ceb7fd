"""Turn a child's lines into the task's log, its state in the task state store, and metrics.

The entry `progress` of the task state store is the latest `Tick`, as JSON: it can be read over REST
while the task runs, and stays afterwards.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from mftasks import progress

if TYPE_CHECKING:
    from airflow.sdk import Context

    from mftasks.progress import Tick

log = logging.getLogger(__name__)

PROGRESS = "progress"
STORE_EVERY_SECONDS = 0.5
KEPT_LINES = 20


class Monitor:
    """Take in the lines of one child process."""

    def __init__(self, context: Context, network: str) -> None:
        self._state = context["task_state_store"]
        self._tags = {"network": network}
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._pending: Tick | None = None
        self._stored_at = 0.0

    def take(self, line: str) -> None:
        """Log a line; store and measure it where it is a tick."""
        tick = progress.parse(line)
        if tick is None:
            self._lines.append(line)
            log.info("%s", line)
            return
        log.info("%s", progress.describe(tick))
        self._measure(tick)
        self._pending = tick
        if time.monotonic() - self._stored_at >= STORE_EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Store the latest tick, if it is not there yet."""
        if self._pending is not None:
            self._state.set(PROGRESS, msgspec.to_builtins(self._pending))
            self._pending = None
            self._stored_at = time.monotonic()

    def last_lines(self) -> str:
        """Return what the child said last, ticks apart."""
        return "\n".join(self._lines)

    def _measure(self, tick: Tick) -> None:
        from airflow.sdk.observability import stats

        if tick.epoch is None:
            return
        stats.incr("mf.train.epochs", tags=self._tags)
        stats.gauge("mf.train.rmse", tick.epoch.train_rmse, tags=self._tags)
        stats.gauge("mf.train.ratings_per_second", tick.epoch.ratings_per_second, tags=self._tags)
        if tick.epoch.valid_rmse is not None:
            stats.gauge("mf.train.valid_rmse", tick.epoch.valid_rmse, tags=self._tags)
