"""Progress reporting: bars in a terminal, lines in a log, JSON to a parent process.

A step calls `on_tick(Tick(…))`. The child process of an operator or of the pipeline writes ticks as
JSON lines on stdout (`MF_PROGRESS=json`); the parent reads them with `parse`. If the parent is gone,
`on_tick` raises `Interrupted`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from mftasks.errors import Interrupted
from mftasks.records import Count, EpochMetrics, GpuUse, Record
from mftasks.terminal import printable

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.0


class Tick(Record, frozen=True, kw_only=True):
    """How far a piece of work is; `epoch` has the figures of the one that has just ended.

    `seconds_left` is an estimate from the epochs so far; `gpus` are those that the training leased.
    `waiting_for` names the devices that it waits for and who holds them; `failed_checkpoints` counts
    those that could not be stored since the process began.
    """

    work: str
    done: int
    total: int
    unit: Literal["bytes", "ratings", "epochs"]
    device: str | None = None
    epoch: EpochMetrics | None = None
    seconds_left: float | None = None
    peak_rss_bytes: Count | None = None
    gpus: tuple[GpuUse, ...] = ()
    waiting_for: str | None = None
    failed_checkpoints: Count = 0


OnTick = Callable[[Tick], None]


def silent(tick: Tick) -> None:
    """Report to nobody."""


def describe(tick: Tick) -> str:
    """Return a tick as one line of a log."""
    if tick.waiting_for is not None:
        return f"{tick.work}: waits for {tick.waiting_for}"
    if tick.unit == "bytes":
        return f"{tick.work}: {decimal(tick.done)} of {decimal(tick.total)}"
    parts = [f"{tick.work}: {tick.unit.rstrip('s')} {tick.done} of {tick.total}"]
    if tick.epoch is not None:
        parts.append(f"train RMSE {tick.epoch.train_rmse:.4f}")
        if tick.epoch.valid_rmse is not None:
            parts.append(f"valid RMSE {tick.epoch.valid_rmse:.4f}")
        parts.append(f"{tick.epoch.ratings_per_second:,.0f} ratings/s")
        if tick.seconds_left is not None:
            parts.append(f"{tick.seconds_left:.0f} s left")
        if tick.device is not None:
            parts.append(f"on {tick.device}")
    return ", ".join(parts)


def parse(line: str) -> Tick | None:
    """Return the tick that a child wrote, or None if the line is something else."""
    if not line.startswith('{"work"'):
        return None
    try:
        return msgspec.json.decode(line, type=Tick)
    except msgspec.DecodeError:
        return None


@contextlib.contextmanager
def reporter(mode: str) -> Iterator[OnTick]:
    """Give an `OnTick` for `mode`: bar, lines, json, or auto (a bar on a terminal, else lines)."""
    if mode == "json":
        yield _write_json
    elif mode == "bar" or (mode == "auto" and sys.stderr.isatty()):
        with Progress(
            TextColumn("{task.description:<15}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        ) as bars:
            yield _Bars(bars)
    else:
        yield _Lines()


def _write_json(tick: Tick) -> None:
    try:
        sys.stdout.write(msgspec.json.encode(tick).decode() + "\n")
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise Interrupted("the parent process is gone; start the step again") from error


class _Lines:
    """Log lines: every epoch, and transfers every few seconds and at their end."""

    def __init__(self) -> None:
        self._quiet_until: dict[str, float] = {}

    def __call__(self, tick: Tick) -> None:
        now = time.monotonic()
        due = now >= self._quiet_until.setdefault(tick.work, now + QUIET_SECONDS)
        if tick.unit == "epochs" or tick.done == tick.total or due:
            self._quiet_until[tick.work] = now + QUIET_SECONDS
            log.info("%s", describe(tick))


class _Bars:
    """Bars in a terminal, one for each piece of work."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, tick: Tick) -> None:
        if tick.work not in self._tasks:
            self._tasks[tick.work] = self._bars.add_task(printable(tick.work), state="")
        self._bars.update(
            self._tasks[tick.work],
            completed=tick.done,
            total=tick.total or None,
            state=_describe_briefly(tick),
        )


def _describe_briefly(tick: Tick) -> str:
    if tick.waiting_for is not None:
        return f"waits for {tick.waiting_for}"
    if tick.unit == "bytes":
        return decimal(tick.done)
    if tick.epoch is None:
        return f"{tick.done:,} of {tick.total:,}"
    rmse = tick.epoch.train_rmse if tick.epoch.valid_rmse is None else tick.epoch.valid_rmse
    return f"{tick.done}/{tick.total}  RMSE {rmse:.4f}"
