"""The comparison of the networks: RMSE against training time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bokeh.models import ColumnDataSource, FixedTicker, Node
from bokeh.models.annotations.geometry import Span
from bokeh.models.annotations.labels import Label

from mftasks.plots import style, words

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from mftasks.plots.style import Look
    from mftasks.records import Evaluation, TrainResult

LOG_FROM = 4.0
TICKS = [step * 10.0**power for power in range(-2, 7) for step in (1, 2, 5)]
HEADROOM = 0.05
FOOTROOM = 0.08
PADDING = 0.01


def comparison(
    results: Sequence[TrainResult], evaluations: Sequence[Evaluation], look: Look
) -> figure:
    """Draw a line a network: validation RMSE solid, training RMSE dotted, by seconds of training.

    A ring marks the epoch whose weights were kept, a star the test RMSE of the exported network;
    the baselines are dashed. Time is on a log scale where the networks' differ much.
    """
    totals = [result.history[-1].seconds for result in results]
    wide = max(totals) > LOG_FROM * min(totals)
    plot = style.canvas(
        "seconds of training",
        "RMSE",
        height=440,
        x_axis_type="log" if wide else "linear",
        y_range=_visible(results, evaluations),
    )
    if wide:
        plot.xaxis.axis_label = "seconds of training, on a log scale"
        plot.xaxis.ticker = FixedTicker(ticks=TICKS)
    _draw_baselines(plot, evaluations[0].baselines)
    scores = {evaluation.network: evaluation for evaluation in evaluations}
    entries = [
        (
            f"{result.config.network} {scores[result.config.network].rmse:.4f}",
            _draw_network(plot, result, scores[result.config.network], look),
        )
        for result in results
    ]
    style.legend(plot, entries)
    return plot


def _visible(
    results: Sequence[TrainResult], evaluations: Sequence[Evaluation]
) -> tuple[float, float]:
    """Return the RMSEs between which the networks and the best baseline can be told apart.

    First epochs far above and overfitted training errors far below would flatten the rest; they are
    a drag away.
    """
    compared = [evaluation.rmse for evaluation in evaluations]
    compared += [min(evaluation.baselines.values()) for evaluation in evaluations]
    compared += [kept for result in results if (kept := _kept(result)) is not None]
    everything = compared + [
        rmse for result in results for epoch in result.history for rmse in _rmses(epoch)
    ]
    low = max(min(everything), min(compared) - FOOTROOM)
    high = min(max(everything), max(compared) + HEADROOM)
    return low - PADDING, high + PADDING


def _rmses(epoch: Any) -> list[float]:
    return [rmse for rmse in (epoch.train_rmse, epoch.valid_rmse) if rmse is not None]


def _kept(result: TrainResult) -> float | None:
    return result.history[result.best_epoch - 1].valid_rmse


def _draw_baselines(plot: figure, baselines: dict[str, float]) -> None:
    for name, rmse in baselines.items():
        plot.add_layout(
            Span(location=rmse, dimension="width", line_color=style.INK, line_dash="dashed")
        )
        plot.add_layout(
            Label(
                x=Node(target="frame", symbol="right"),
                y=rmse,
                x_offset=-4,
                y_offset=3,
                text_align="right",
                text=f"baseline {name} {rmse:.4f}",
                text_font=style.FONT,
                text_font_size="12px",
                text_color=style.INK,
            )
        )


def _draw_network(
    plot: figure, result: TrainResult, evaluation: Evaluation, look: Look
) -> list[Any]:
    network = result.config.network
    paint: dict[str, Any] = {"color": look.colour(network)}
    marker = look.marker(network)
    validated = result.history[0].valid_rmse is not None
    epochs = ColumnDataSource(_columns(result))
    points: dict[str, Any] = {**paint, "marker": marker, "size": 5}
    drawn = [
        plot.line("seconds", "train", source=epochs, line_width=2, line_dash="dotted", **paint),
        plot.scatter("seconds", "train", source=epochs, fill_alpha=0, **points),
    ]
    if validated:
        drawn = [
            plot.line("seconds", "valid", source=epochs, line_width=2.5, **paint),
            plot.scatter("seconds", "valid", source=epochs, **points),
            *drawn,
        ]
    style.hover(plot, _tooltips(result), drawn[1::2])
    if validated:
        kept = ColumnDataSource(_columns(result, result.best_epoch))
        ring: dict[str, Any] = {"size": 15, "fill_alpha": 0, "line_width": 2, **paint}
        drawn.append(plot.scatter("seconds", "valid", source=kept, **ring))
    drawn.append(_draw_test(plot, result, evaluation, paint))
    return drawn


def _columns(result: TrainResult, only: int | None = None) -> dict[str, list[Any]]:
    history = [epoch for epoch in result.history if only in (None, epoch.epoch)]
    return {
        "network": [result.config.network] * len(history),
        "epoch": [epoch.epoch for epoch in history],
        "seconds": [epoch.seconds for epoch in history],
        "train": [epoch.train_rmse for epoch in history],
        "valid": [epoch.valid_rmse for epoch in history],
        "speed": [epoch.ratings_per_second for epoch in history],
    }


def _tooltips(result: TrainResult) -> list[tuple[str, str]]:
    validated = result.history[0].valid_rmse is not None
    return [
        ("network", "@network"),
        ("epoch", f"@epoch of {result.config.epochs}"),
        ("after", "@seconds{0.00} s"),
        *([("validation RMSE", "@valid{0.0000}")] if validated else []),
        ("training RMSE", "@train{0.0000}"),
        ("speed", "@speed{0,0} ratings/s"),
    ]


def _draw_test(
    plot: figure, result: TrainResult, evaluation: Evaluation, paint: dict[str, Any]
) -> Any:
    test = ColumnDataSource(
        {
            "network": [evaluation.network],
            "seconds": [result.history[-1].seconds],
            "rmse": [evaluation.rmse],
            "interval": [words.span(evaluation.rmse_interval)],
        }
    )
    star = plot.scatter("seconds", "rmse", source=test, marker="star", size=17, **paint)
    star.glyph.line_color = style.INK
    style.hover(
        plot,
        [("network", "@network"), ("test RMSE", "@rmse{0.0000}"), ("95 % interval", "@interval")],
        [star],
    )
    return star
