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


def draw_comparison(
    results: Sequence[TrainResult], evaluations: Sequence[Evaluation], look: Look
) -> figure:
    """Draw one line per network: validation RMSE solid, training RMSE dotted, by seconds of training.

    A ring marks the epoch whose weights were kept, a star the test RMSE of the exported network;
    the baselines are dashed. Time is on a log scale if the networks' differ much.
    """
    totals = [result.history[-1].seconds for result in results]
    wide = max(totals) > LOG_FROM * min(totals)
    plot = style.make_canvas(
        "seconds of training",
        "RMSE",
        height=440,
        x_axis_type="log" if wide else "linear",
        y_range=_choose_range(results, evaluations),
    )
    if wide:
        plot.xaxis.axis_label = "seconds of training, on a log scale"
        plot.xaxis.ticker = FixedTicker(ticks=TICKS)
    _draw_baselines(plot, evaluations[0].baselines)
    scores = {evaluation.network: evaluation for evaluation in evaluations}
    entries = []
    for result in results:
        evaluation = scores[result.config.network]
        label = f"{evaluation.network} {evaluation.rmse:.4f}"
        entries.append((label, _draw_network(plot, result, evaluation, look)))
    style.add_legend(plot, entries)
    return plot


def _choose_range(
    results: Sequence[TrainResult], evaluations: Sequence[Evaluation]
) -> tuple[float, float]:
    """Return the range of y in which the networks and the best baseline can be distinguished.

    First epochs far above and overfitted training errors far below would flatten the rest: one has
    to drag to see them.
    """
    kept = (result.kept.valid_rmse for result in results)
    compared = [evaluation.rmse for evaluation in evaluations]
    compared += [
        evaluations[0].best_baseline[1],
        *(rmse for rmse in kept if rmse is not None),
    ]
    epochs = [epoch for result in results for epoch in result.history]
    curves = [
        rmse for one in epochs for rmse in (one.train_rmse, one.valid_rmse) if rmse is not None
    ]
    low = max(min(compared + curves), min(compared) - FOOTROOM)
    high = min(max(compared + curves), max(compared) + HEADROOM)
    return low - PADDING, high + PADDING


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
    """Draw the curves of a network, that of validation first, and the marks on them."""
    kept = result.kept
    paint: dict[str, Any] = {"color": look.colour(evaluation.network)}
    of_epochs: dict[str, Any] = {"source": _tabulate(result), **paint}
    points: dict[str, Any] = {"marker": look.marker(evaluation.network), "size": 5, **of_epochs}
    lines = [plot.line("seconds", "train", line_width=2, line_dash="dotted", **of_epochs)]
    marks = [plot.scatter("seconds", "train", fill_alpha=0, **points)]
    if kept.valid_rmse is not None:
        lines.insert(0, plot.line("seconds", "valid", line_width=2.5, **of_epochs))
        marks.insert(0, plot.scatter("seconds", "valid", **points))
    tooltips = [
        ("network", "@network"),
        ("epoch", f"@epoch of {result.config.epochs}"),
        ("after", "@seconds{0.00} s"),
        *([("validation RMSE", "@valid{0.0000}")] if kept.valid_rmse is not None else []),
        ("training RMSE", "@train{0.0000}"),
        ("speed", "@speed{0,0} ratings/s"),
    ]
    style.add_hover(plot, tooltips, marks)
    if kept.valid_rmse is not None:
        ring: dict[str, Any] = {"size": 15, "fill_alpha": 0, "line_width": 2, **paint}
        marks.append(plot.scatter([kept.seconds], [kept.valid_rmse], **ring))
    return [*lines, *marks, _draw_test(plot, result.history[-1].seconds, evaluation, paint)]


def _tabulate(result: TrainResult) -> ColumnDataSource:
    columns = {
        "network": [result.config.network] * len(result.history),
        "epoch": [epoch.epoch for epoch in result.history],
        "seconds": [epoch.seconds for epoch in result.history],
        "train": [epoch.train_rmse for epoch in result.history],
        "valid": [epoch.valid_rmse for epoch in result.history],
        "speed": [epoch.ratings_per_second for epoch in result.history],
    }
    return ColumnDataSource(columns)


def _draw_test(plot: figure, seconds: float, evaluation: Evaluation, paint: dict[str, Any]) -> Any:
    columns = {
        "network": [evaluation.network],
        "seconds": [seconds],
        "rmse": [evaluation.rmse],
        "interval": [words.format_interval(evaluation.rmse_interval)],
    }
    test = ColumnDataSource(columns)
    star = plot.scatter("seconds", "rmse", source=test, marker="star", size=17, **paint)
    star.glyph.line_color = style.INK
    tooltips = [
        ("network", "@network"),
        ("test RMSE", "@rmse{0.0000}"),
        ("95 % interval", "@interval"),
    ]
    style.add_hover(plot, tooltips, [star])
    return star
