"""How a page puts figures into words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mftasks.records import Evaluation, Interval, SplitConfig, TrainConfig

MINUTE = 60


def headline(best: Evaluation) -> str:
    """Say which network is best, and how good it is."""
    return f"Best network: {best.network}, RMSE {best.rmse:.4f}"


def chosen(validated: bool) -> str:
    """Say on which part the best network was found to be so."""
    if validated:
        return "It is the best on the validation part; the figures here are of the test part."
    return "It is the best on the test part, as no validation part was held back."


def summary(best: Evaluation, dataset: str) -> str:
    """Say how sure the figure is, and what it is worth."""
    low, high = best.rmse_interval.low, best.rmse_interval.high
    rival, rmse = min(best.baselines.items(), key=lambda one: one[1])
    said = (
        f"Over {count(best.n_ratings)} ratings of {dataset} that training never saw, with a "
        f"95\u00a0% interval of {low:.4f} to {high:.4f}. The best baseline, {rival}, has {rmse:.4f}: "
    )
    gain = best.gain
    if gain is None:
        return f"{said}{best.network} is {rmse - best.rmse:+.4f} below it."
    between = f"(95\u00a0% interval {gain.low:.4f} to {gain.high:.4f})"
    if gain.low > 0:
        return f"{said}{best.network} is {gain.value:.4f} better {between}."
    if gain.high < 0:
        return f"{said}{best.network} is {-gain.value:.4f} worse {between}."
    return (
        f"{said}no network is clearly better; {best.network} differs by {gain.value:.4f} {between}."
    )


def split(config: SplitConfig) -> str:
    """Say how the test part was chosen."""
    if config.strategy == "canonical":
        return f"canonical fold {config.fold}"
    if config.strategy == "temporal":
        return f"everything from {config.test_from:%d %B %Y} on"
    return f"{100 * (config.test_fraction or 0):g} % by hash of user and item"


def settings(config: TrainConfig) -> dict[str, str]:
    """Return what a network was trained with, by name; what has no effect is left out."""
    chosen: dict[str, Any] = {
        "epochs": f"at most {config.epochs}" if config.patience else config.epochs,
        "batch size": count(config.batch_size),
        "optimizer": ("lazy " if config.lazy else "") + config.optimizer,
        "learning rate": f"{config.learning_rate:g}, {config.schedule}",
        "momentum": config.momentum or None,
        "L2": config.l2 or None,
        "weight decay": config.weight_decay or None,
        "patience": config.patience or None,
        "weights kept": f"{config.keep} epoch's",
        **{name.replace("_", " "): value for name, value in config.params.items()},
        "seed": config.seed,
    }
    return {name: _plain(value) for name, value in chosen.items() if value is not None}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def count(n: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{n:,.0f}"


def figure(value: float) -> str:
    """Return an error, to four places."""
    return f"{value:.4f}"


def span(interval: Interval) -> str:
    """Return the bounds of an interval."""
    return f"{interval.low:.4f} – {interval.high:.4f}"


def gain(evaluation: Evaluation) -> str:
    """Return how far a network is below the best baseline, with the interval's half width."""
    if evaluation.gain is None:
        return f"{min(evaluation.baselines.values()) - evaluation.rmse:.4f}"
    half = (evaluation.gain.high - evaluation.gain.low) / 2
    return f"{evaluation.gain.value:.4f} ± {half:.4f}".replace("-", "−")


def verdict(evaluation: Evaluation) -> str:
    """Return good or bad where a network is clearly better or worse than the best baseline."""
    if evaluation.gain is None:
        return ""
    return "good" if evaluation.gain.low > 0 else "bad" if evaluation.gain.high < 0 else ""


def duration(seconds: float) -> str:
    """Return a time that something took, in the unit that fits."""
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min {rest} s"
    return f"{minutes // MINUTE} h {minutes % MINUTE} min"


def size(n_bytes: float) -> str:
    """Return a number of bytes in the unit that fits."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB"


def day(moment: datetime) -> str:
    """Return the date of a moment, in UTC."""
    return f"{moment.astimezone(UTC):%-d %B %Y}"


def clock(moment: datetime) -> str:
    """Return the time of day of a moment, in UTC."""
    return f"{moment.astimezone(UTC):%H:%M} UTC"


FILTERS: dict[str, Callable[..., str]] = {
    "count": count,
    "figure": figure,
    "span": span,
    "gain": gain,
    "verdict": verdict,
    "duration": duration,
    "size": size,
    "day": day,
    "clock": clock,
    "moment": lambda moment: f"{day(moment)}, {clock(moment)}",
}
