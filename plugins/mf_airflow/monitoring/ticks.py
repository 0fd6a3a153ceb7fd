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
from rich.filesize import decimal

from mf_airflow.monitoring import gauges
from mftasks import progress

if TYPE_CHECKING:
    from airflow.sdk import Context

    from mftasks.progress import Tick
    from mftasks.records import EpochMetrics

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
        self._last: Tick | None = None
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
        self._pending = self._last = tick
        if time.monotonic() - self._stored_at >= STORE_EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Store the latest tick, if it is not there yet."""
        if self._pending is not None:
            # Airflow takes what JSON can hold, and so no tuple.
            self._state.set(PROGRESS, msgspec.json.decode(msgspec.json.encode(self._pending)))
            self._pending = None
            self._stored_at = time.monotonic()

    def last_lines(self) -> str:
        """Return what the child said last, ticks apart."""
        return "\n".join(self._lines)

    def held(self) -> str:
        """Say how much memory the child has held, where it has told."""
        if self._last is None or self._last.peak_rss_bytes is None:
            return ""
        return f", when it held {decimal(self._last.peak_rss_bytes)} or more"

    def _measure(self, tick: Tick) -> None:
        from airflow.sdk.observability import stats

        if tick.epoch is None:
            return
        stats.incr("mf.train.epochs", tags=self._tags)
        for name, value in _figures(tick, tick.epoch).items():
            if value is not None:
                stats.gauge(f"mf.train.{name}", value, tags=self._tags)
        for gpu in tick.gpus:
            tags = {**self._tags, **gauges.tags_of(device=gpu.device)}
            stats.gauge("mf.gpu.memory_used_bytes", gpu.memory_used_bytes, tags=tags)
            stats.gauge("mf.gpu.memory_total_bytes", gpu.memory_total_bytes, tags=tags)
            stats.gauge("mf.gpu.utilization", gpu.utilization, tags=tags)


def _figures(tick: Tick, epoch: EpochMetrics) -> dict[str, float | None]:
    return {
        "epoch": epoch.epoch,
        "peak_rss_bytes": tick.peak_rss_bytes,
        "ratings_per_second": epoch.ratings_per_second,
        "rmse": epoch.train_rmse,
        "seconds_left": tick.seconds_left,
        "valid_rmse": epoch.valid_rmse,
    }
