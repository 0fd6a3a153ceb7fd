"""The results of a run in one table, the same wherever a terminal shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table

from mftasks.records import Evaluation, Score, TrainResult
from mftasks.terminal import plain

if TYPE_CHECKING:
    from mftasks.records import ReportRef, RunRow

GROUPS = ("warm", "cold")
COLUMNS = ("network", "RMSE", "95 % interval", "baseline", "validation", "epochs", "seconds")


def score(result: TrainResult, evaluation: Evaluation) -> Score:
    """Return the figures of a network."""
    baseline, rmse = evaluation.best_baseline
    return Score(
        network=evaluation.network,
        rmse=evaluation.rmse,
        rmse_interval=evaluation.rmse_interval,
        mae=evaluation.mae,
        valid_rmse=result.kept.valid_rmse,
        baseline=baseline,
        baseline_rmse=rmse,
        gain=evaluation.gain,
        best_epoch=result.best_epoch,
        n_epochs=len(result.history),
        seconds=result.seconds,
        device=result.device,
        warm=evaluation.warm,
        cold=evaluation.cold,
    )


def find_best(run: RunRow | ReportRef) -> Score:
    """Return the figures of the chosen network."""
    return next(score for score in run.scores if score.network == run.best)


def tabulate_results(run: RunRow) -> Table:
    """Return the results of a run, the chosen network first, the others by validation."""
    best = find_best(run)
    apart = [group for group in (best.warm, best.cold) if group]
    shown = Table(
        *COLUMNS,
        *(f"{name} ({group.n_ratings:,})" for name, group in zip(GROUPS, apart, strict=False)),
        title=plain(f"{run.dataset.name}, run {run.run_id}"),
        caption=plain(conclude(best)),
    )
    for one in sorted(run.scores, key=lambda one: (one.network != run.best, _rank(one))):
        interval, valid = one.rmse_interval, one.valid_rmse
        cells = (
            one.network,
            f"{one.rmse:.4f}",
            f"{interval.low:.4f} – {interval.high:.4f}" if interval else "too few users",
            f"{one.baseline_rmse:.4f}",
            "" if valid is None else f"{valid:.4f}",
            f"{one.best_epoch} of {one.n_epochs}",
            f"{one.seconds:.1f}",
            *(f"{group.rmse:.4f}" for group in (one.warm, one.cold) if group),
        )
        shown.add_row(*map(plain, cells))
    return shown


def _rank(score: Score) -> float:
    return score.rmse if score.valid_rmse is None else score.valid_rmse


def tabulate_runs(runs: Iterable[RunRow]) -> Table:
    """Return a line per run: when it was published, on which data, and its chosen network."""
    shown = Table("published", "data set", "run", "network", "RMSE", "baseline")
    for run in runs:
        best = find_best(run)
        published = f"{run.published_at:%Y-%m-%d %H:%M}"
        figures = (f"{best.rmse:.4f}", f"{best.baseline_rmse:.4f}")
        cells = (published, run.dataset.name, run.run_id, best.network, *figures)
        shown.add_row(*map(plain, cells))
    return shown


def conclude(score: Score) -> str:
    """Return in a sentence whether a network is better than the best baseline."""
    gain, rival = score.gain, f"the baseline {score.baseline} ({score.baseline_rmse:.4f})"
    if gain is None or gain.low <= 0 <= gain.high:
        return f"{score.network} is chosen; it is not clearly better than {rival}"
    if gain.low > 0:
        return f"{score.network} is chosen; it is {gain.value:.4f} better than {rival}"
    return f"{score.network} is chosen, but it is {-gain.value:.4f} worse than {rival}"
