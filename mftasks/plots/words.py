"""How a page puts figures into words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.filesize import decimal

from mftasks.records import format_scalar

if TYPE_CHECKING:
    from mftasks.records import Evaluation, Interval, Report, SplitRef, TrainConfig

MINUTE = 60
DROPPED = {
    "empty": "empty",
    "missing": "with a code for no rating",
    "bad": "that could not be read",
    "duplicates": "that repeat a user and an item",
}


def write_headline(best: Evaluation, evaluations: Sequence[Evaluation]) -> str:
    """Name the chosen network and its RMSE, or the baseline if no network is clearly better."""
    rival, rmse = best.best_baseline
    if any(one.gain.low > 0 if one.gain else one.rmse < rmse for one in evaluations):
        return f"Best network: {best.network}, RMSE {best.rmse:.4f}"
    nobody = "No network beats" if len(evaluations) > 1 else f"{best.network} does not beat"
    return f"{nobody} the baseline {rival}, RMSE {rmse:.4f}"


def explain_choice(best: Evaluation, validated: bool) -> str:
    """Return on which part the best network was chosen."""
    if validated:
        return f"{best.network} was chosen on the validation part; the figures here are of the test part."
    return f"{best.network} was chosen on the test part, as no validation part could choose."


def write_summary(best: Evaluation, evaluations: Sequence[Evaluation], dataset: str) -> str:
    """Return how sure the best network's figure is, and how it compares with the baseline."""
    rival, rmse = best.best_baseline
    within = (
        f", 95\u00a0% interval {format_interval(best.rmse_interval)}" if best.rmse_interval else ""
    )
    tested = f"{format_count(best.n_ratings)} ratings of {dataset} that training never saw"
    return (
        f"{best.network} has RMSE {best.rmse:.4f}{within} over {tested}. The best baseline, "
        f"{rival}, has {rmse:.4f}: {best.network} {_compare(best)}{_name_better(best, evaluations)}."
    )


def _compare(best: Evaluation) -> str:
    if best.gain is None:
        return f"is {format_gain(best)} below it"
    value, judged = best.gain.value, judge(best)
    shown = _negate(best.gain) if judged == "bad" else best.gain
    between = f"(95\u00a0% interval {format_interval(shown)})"
    return {
        "good": f"is {value:.4f} better {between}",
        "bad": f"is {-value:.4f} worse {between}",
        "": f"differs from it by {value:.4f} {between}, which is not clear",
    }[judged]


def _negate(gain: Interval) -> Interval:
    return type(gain)(value=-gain.value, low=-gain.high, high=-gain.low)


def _name_better(best: Evaluation, evaluations: Sequence[Evaluation]) -> str:
    """Name the networks that are clearly better than the baseline if the chosen one is not."""
    better = [one.network for one in evaluations if judge(one) == "good"]
    return f"; clearly better is {' and '.join(better)}" if better and judge(best) != "good" else ""


def list_warnings(run: Report) -> list[str]:
    """Return what a reader should know: networks that are missing, doubtful parts, odd data."""
    few = "" if run.evaluations[0].rmse_interval else "too few users took part for intervals"
    return [
        *run.plan.broken.values(),
        *run.split.warnings,
        *filter(None, [few]),
        *run.profile.warnings,
    ]


def describe_split(ref: SplitRef) -> str:
    """Return how the test part was chosen."""
    config = ref.config
    if config.strategy == "canonical":
        return f"canonical fold {config.fold}"
    if config.strategy == "temporal":
        validated = f", validated from {format_day(ref.valid_from)}" if ref.valid_from else ""
        return f"everything from {config.test_from:%-d %B %Y} on{validated}"
    return f"{100 * (config.test_fraction or 0):g} % by hash of user and item"


def describe_dropped(dropped: Mapping[str, int]) -> str:
    """Return how many rows of the file were left out, and why; empty if none was."""
    if not dropped:
        return ""
    reasons = ", ".join(f"{format_count(n)} {DROPPED.get(why, why)}" for why, n in dropped.items())
    return f"{format_count(sum(dropped.values()))} rows of the file are left out: {reasons}."


def list_settings(config: TrainConfig) -> dict[str, str]:
    """Return what a network was trained with, by name; what has no effect is left out."""
    chosen: dict[str, Any] = {
        "epochs": f"at most {config.epochs}" if config.patience else config.epochs,
        "batch size": format_count(config.batch_size),
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
    return {name: format_scalar(value) for name, value in chosen.items() if value is not None}


def format_count(n: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{n:,.0f}"


def format_error(value: float) -> str:
    """Return an error, to four places."""
    return f"{value:.4f}"


def format_interval(interval: Interval | None) -> str:
    """Return the bounds of an interval, a dash if there is none."""
    return f"{interval.low:.4f} – {interval.high:.4f}" if interval else "–"


def format_gain(evaluation: Evaluation) -> str:
    """Return how far a network is below the best baseline, with the interval's half width."""
    if evaluation.gain is None:
        return f"{evaluation.best_baseline[1] - evaluation.rmse:.4f}".replace("-", "−")
    half = (evaluation.gain.high - evaluation.gain.low) / 2
    return f"{evaluation.gain.value:.4f} ± {half:.4f}".replace("-", "−")


def judge(evaluation: Evaluation) -> str:
    """Return good or bad for a network that is clearly better or worse than the best baseline.

    Without an interval, as with few users, nothing is clear.
    """
    if evaluation.gain is None:
        return ""
    return "good" if evaluation.gain.low > 0 else "bad" if evaluation.gain.high < 0 else ""


def format_duration(seconds: float) -> str:
    """Return a time that something took, in the unit that fits."""
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min {rest} s"
    return f"{minutes // MINUTE} h {minutes % MINUTE} min"


def format_day(moment: datetime) -> str:
    """Return the date of a moment, in UTC."""
    return f"{moment.astimezone(UTC):%-d %B %Y}"


def format_clock(moment: datetime) -> str:
    """Return the time of day of a moment, in UTC."""
    return f"{moment.astimezone(UTC):%H:%M} UTC"


FILTERS: dict[str, Callable[..., str]] = {
    "count": format_count,
    "figure": format_error,
    "span": format_interval,
    "gain": format_gain,
    "verdict": judge,
    "duration": format_duration,
    "size": decimal,
    "day": format_day,
    "clock": format_clock,
    "moment": lambda moment: f"{format_day(moment)}, {format_clock(moment)}",
}
