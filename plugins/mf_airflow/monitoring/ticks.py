"""Turn a child's lines into the task's log, entries of the task state store, and metrics.

The task state store can be read over REST while the task runs, and keeps its entries afterwards:
`progress` is the latest `Tick`, `waiting` the latest `Wait`; both are JSON.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
from rich.filesize import decimal

from mf_airflow.monitoring import gauges
from mftasks import progress
from mftasks.errors import quote

if TYPE_CHECKING:
    from airflow.sdk import Context

    from mftasks.progress import Tick
    from mftasks.records import EpochMetrics

log = logging.getLogger(__name__)

PROGRESS = "progress"
WAITING = "waiting"
STORE_EVERY_SECONDS = 0.5
STORE_AGAIN_SECONDS = 60.0
KEPT_LINES = 20
LONGEST = 300
ERROR = re.compile(r"^error (\w+): ", re.M)

Reason = Literal["device", "interruption"]


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """What a task waits for, and since when: it goes on when that is over; `until` is None before."""

    reason: Reason
    detail: str
    since: datetime
    until: datetime | None = None


class ReportedError(NamedTuple):
    """The error with which a child ended: its class and its message."""

    kind: str
    message: str


class Monitor:
    """What one child process has written, and where it is reported."""

    def __init__(self, context: Context, network: str) -> None:
        self._state = context["task_state_store"]
        self._tags = {"network": network}
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._pending: dict[str, msgspec.Struct] = {}
        self._last: Tick | None = None
        self._wait = self._read_wait()
        self._store_at = 0.0

    def take(self, line: str) -> None:
        """Log a line; store and measure it if it is a tick."""
        tick = progress.parse(line)
        if tick is None:
            self._lines.append(line)
            if not ERROR.match(line):  # the task logs it when the child has ended
                log.info("%s", line)
            return
        log.info("%s", progress.describe(tick))
        if tick.waiting_for is not None:
            self.report_wait("device", tick.waiting_for)
        elif tick.epoch is not None:
            self._end_wait()
        self._measure(tick)
        self._pending[PROGRESS] = self._last = tick
        if time.monotonic() >= self._store_at:
            self.flush()

    def report_wait(self, reason: Reason, detail: str) -> None:
        """Store what the task waits for, and measure for how long; earlier processes of the task count."""
        now = datetime.now(UTC)
        goes_on = (
            self._wait is not None and self._wait.until is None and self._wait.reason == reason
        )
        since = self._wait.since if self._wait is not None and goes_on else now
        if self._wait is not None and not goes_on:
            self._measure_wait(self._wait.reason, 0.0)
        self._wait = Wait(reason=reason, detail=detail[:LONGEST], since=since)
        self._pending[WAITING] = self._wait
        self._measure_wait(reason, (now - since).total_seconds())

    def flush(self) -> None:
        """Store what is not stored yet. If that fails, the training goes on all the same."""
        try:
            for key in list(self._pending):
                # Airflow takes what JSON can hold, and so no tuple.
                self._state.set(key, msgspec.json.decode(msgspec.json.encode(self._pending[key])))
                del self._pending[key]
            self._store_at = time.monotonic() + STORE_EVERY_SECONDS
        except Exception as error:  # whatever it is: progress is not worth a training
            log.warning("cannot store the progress: %s; the step goes on", quote(str(error)))
            self._store_at = time.monotonic() + STORE_AGAIN_SECONDS

    def find_error(self) -> ReportedError | None:
        """Return the error that the child reported last, None if there is none."""
        text = self.last_lines()
        found = list(ERROR.finditer(text))
        return ReportedError(found[-1][1], text[found[-1].end() :]) if found else None

    def last_lines(self) -> str:
        """Return the last lines of the child that are no ticks."""
        return "\n".join(self._lines)

    def held(self) -> str:
        """Return how much memory the child held, for the end of a sentence; nothing if not known."""
        if self._last is None or self._last.peak_rss_bytes is None:
            return ""
        return f", when it held {decimal(self._last.peak_rss_bytes)} or more"

    def reached(self) -> str:
        """Return how far the child came, for the end of a sentence; nothing if not known."""
        if self._last is None or self._last.epoch is None:
            return ""
        return f" after epoch {self._last.done} of {self._last.total}"

    def _read_wait(self) -> Wait | None:
        """Return what an earlier process of this task waited for."""
        try:
            stored = self._state.get(WAITING)
            return None if stored is None else msgspec.convert(stored, Wait)
        except Exception as error:  # as in `flush`
            log.warning("cannot read how long the task has waited: %s", quote(str(error)))
            return None

    def _end_wait(self) -> None:
        if self._wait is not None and self._wait.until is None:
            self._wait = msgspec.structs.replace(self._wait, until=datetime.now(UTC))
            self._pending[WAITING] = self._wait
            self._measure_wait(self._wait.reason, 0.0)

    def _measure_wait(self, reason: Reason, seconds: float) -> None:
        from airflow.sdk.observability import stats

        stats.gauge("mf.train.waiting_seconds", seconds, tags={**self._tags, "reason": reason})

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
        "failed_checkpoints": tick.failed_checkpoints,
        "peak_rss_bytes": tick.peak_rss_bytes,
        "ratings_per_second": epoch.ratings_per_second,
        "rmse": epoch.train_rmse,
        "seconds_left": tick.seconds_left,
        "valid_rmse": epoch.valid_rmse,
    }
