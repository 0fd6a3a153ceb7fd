"""The comparison of the networks: RMSE against training time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from bokeh.models import FixedTicker, Node
from bokeh.models.annotations.geometry import Span
from bokeh.models.annotations.labels import Label

from mftasks.plots import style, words

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from mftasks.plots.style import Network

LOG_FROM = 4.0
TICKS = [step * 10.0**power for power in range(-2, 7) for step in (1, 2, 5)]
HEADROOM = 0.05
FOOTROOM = 0.08
PADDING = 0.01


def draw_comparison(networks: Sequence[Network]) -> figure:
    """Draw one line per network: validation RMSE solid, training RMSE dotted, by seconds of training.

    A ring marks the epoch whose weights were kept, a star the test RMSE of the exported network;
    the baselines are dashed. Time is on a log scale if the networks' differ much.
    """
    totals = [network.result.history[-1].seconds for network in networks]
    wide = max(totals) > LOG_FROM * min(totals)
    plot = style.make_canvas(
        "seconds of training",
        "RMSE",
        height=440,
        x_axis_type="log" if wide else "linear",
        y_range=_choose_range(networks),
    )
    if wide:
        plot.xaxis.axis_label = "seconds of training, on a log scale"
        plot.xaxis.ticker = FixedTicker(ticks=TICKS)
    for name, rmse in networks[0].evaluation.baselines.items():
        _draw_baseline(plot, name, rmse)
    entries = [
        (f"{network.name} {network.evaluation.rmse:.4f}", _draw_network(plot, network))
        for network in networks
    ]
    style.add_legend(plot, entries)
    return plot


def _choose_range(networks: Sequence[Network]) -> tuple[float, float]:
    """Return the range of y in which the networks and the best baseline can be distinguished.

    First epochs far above and overfitted training errors far below would flatten the rest: one has
    to drag to see them.
    """
    evaluations = [network.evaluation for network in networks]
    epochs = [epoch for network in networks for epoch in network.result.history]
    compared = [one.rmse for one in evaluations] + [evaluations[0].best_baseline[1]]
    compared += [one.valid_rmse for one in networks if one.valid_rmse is not None]
    curves = [one.train_rmse for one in epochs]
    curves += [one.valid_rmse for one in epochs if one.valid_rmse is not None]
    low = max(min(compared + curves), min(compared) - FOOTROOM)
    high = min(max(compared + curves), max(compared) + HEADROOM)
    return low - PADDING, high + PADDING


def _draw_baseline(plot: figure, name: str, rmse: float) -> None:
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


def _draw_network(plot: figure, network: Network) -> list[Any]:
    """Draw the curves of a network, that of validation first, and the marks on them."""
    history, kept = network.result.history, network.result.kept
    validated = kept.valid_rmse is not None
    rows = [{"network": network.name, **msgspec.structs.asdict(epoch)} for epoch in history]
    paint: dict[str, Any] = {"color": network.colour}
    of_epochs: dict[str, Any] = {"source": style.make_source(rows), **paint}
    points: dict[str, Any] = {"marker": network.marker, "size": 5, **of_epochs}
    lines = [plot.line("seconds", "train_rmse", line_width=2, line_dash="dotted", **of_epochs)]
    marks = [plot.scatter("seconds", "train_rmse", fill_alpha=0, **points)]
    if validated:
        lines.insert(0, plot.line("seconds", "valid_rmse", line_width=2.5, **of_epochs))
        marks.insert(0, plot.scatter("seconds", "valid_rmse", **points))
    tooltips = [
        ("network", "@network"),
        ("epoch", f"@epoch of {network.result.config.epochs}"),
        ("after", "@seconds{0.00} s"),
        *([("validation RMSE", "@valid_rmse{0.0000}")] if validated else []),
        ("training RMSE", "@train_rmse{0.0000}"),
        ("speed", "@ratings_per_second{0,0} ratings/s"),
    ]
    style.add_hover(plot, tooltips, marks)
    if kept.valid_rmse is not None:
        ring: dict[str, Any] = {"size": 15, "fill_alpha": 0, "line_width": 2, **paint}
        marks.append(plot.scatter([kept.seconds], [kept.valid_rmse], **ring))
    return [*lines, *marks, _draw_test(plot, network)]


def _draw_test(plot: figure, network: Network) -> Any:
    row = {
        "network": network.name,
        "seconds": network.result.history[-1].seconds,
        "rmse": network.evaluation.rmse,
        "interval": words.format_interval(network.evaluation.rmse_interval),
    }
    paint: dict[str, Any] = {"marker": "star", "size": 17, "color": network.colour}
    star = plot.scatter("seconds", "rmse", source=style.make_source([row]), **paint)
    star.glyph.line_color = style.INK
    tooltips = [
        ("network", "@network"),
        ("test RMSE", "@rmse{0.0000}"),
        ("95 % interval", "@interval"),
    ]
    style.add_hover(plot, tooltips, [star])
    return star
