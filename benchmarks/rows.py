"""The lines of the table, made from the runs of both sides: medians over the rounds."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from benchmarks.duels import Duel
    from benchmarks.runs import Epoch, Run


class Row(msgspec.Struct, frozen=True):
    """One comparison; `ratio` is how many times less ours is."""

    name: str
    ours: float
    theirs: float
    ratio: float
    unit: str
    command: str


def make_rows(duel: Duel, ours: list[Run], theirs: list[Run]) -> list[Row]:
    """Return what one duel was measured by: CPU and wall seconds, RMSE, and memory."""
    sides = [
        [choose(duel, *runs) for runs in zip(theirs, ours, strict=True)]
        for choose in (_find_reached, _find_goal)
    ]

    def row(what: str, unit: str, of: Callable[[Epoch], float]) -> Row:
        return _make_row(duel, what, unit, *(statistics.median(map(of, side)) for side in sides))

    memory = (
        statistics.median(run.peak_rss_bytes / 1e6 for run in runs) for runs in (ours, theirs)
    )
    return [
        row("CPU", "s", lambda epoch: epoch.cpu),
        row("wall", "s", lambda epoch: epoch.wall),
        row("test RMSE", "RMSE", lambda epoch: epoch.rmse),
        _make_row(duel, "peak memory", "MB", *memory),
    ]


def _find_goal(duel: Duel, theirs: Run, ours: Run) -> Epoch:
    """Return the notebook's epoch that counts: the last that both came to, or its best."""
    if duel.epochs is None:
        return min(theirs.epochs, key=lambda epoch: epoch.rmse)
    return theirs.epochs[min(len(theirs.epochs), len(ours.epochs), duel.epochs) - 1]


def _find_reached(duel: Duel, theirs: Run, ours: Run) -> Epoch:
    """Return our epoch that counts: the last that both came to, or the first as good as theirs."""
    if duel.epochs is not None:
        return ours.epochs[min(len(theirs.epochs), len(ours.epochs), duel.epochs) - 1]
    goal = _find_goal(duel, theirs, ours).rmse
    for epoch in ours.epochs:
        if epoch.rmse <= goal:
            return epoch
    best = min(epoch.rmse for epoch in ours.epochs)
    sys.exit(f"{duel.name}: ours comes to {best:.4f}, and {goal:.4f} was to be reached")


def _make_row(duel: Duel, what: str, unit: str, ours: float, theirs: float) -> Row:
    return Row(
        name=f"{duel.name}: {what}",
        ours=round(ours, 4),
        theirs=round(theirs, 4),
        ratio=round(theirs / ours, 3),
        unit=unit,
        command=f"python -m benchmarks --only {duel.network}",
    )
