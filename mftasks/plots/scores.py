"""How good the networks are in the end, and where each of them errs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, NumeralTickFormatter

from mftasks.plots import style

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from mftasks.plots.style import Network
    from mftasks.records import Evaluation, Group


def draw_final(networks: Sequence[Network]) -> figure:
    """Draw the test RMSE of each network with its 95 % interval, and that of the baselines."""
    baselines = networks[0].evaluation.baselines
    scores = {network.name: network.evaluation.rmse for network in networks} | baselines
    names = sorted(scores, key=lambda name: -scores[name])
    plot = style.make_canvas(
        "test RMSE",
        "",
        height=70 + 44 * len(names),
        x_range=_choose_range([network.evaluation for network in networks]),
        y_range=names,
    )
    plot.ygrid.grid_line_color = None
    drawn = [_draw_interval(plot, network) for network in networks]
    guesses = style.make_source(
        [{"name": name, "rmse": rmse, "text": f"{rmse:.4f}"} for name, rmse in baselines.items()]
    )
    hollow: dict[str, Any] = {"marker": "diamond", "size": 11, "fill_alpha": 0, "color": style.INK}
    drawn.append(plot.scatter("rmse", "name", source=guesses, **hollow))
    _add_text(plot, guesses, "rmse")
    style.add_hover(plot, [("", "@name"), ("test RMSE", "@rmse{0.0000}")], drawn)
    return plot


def _draw_interval(plot: figure, network: Network) -> Any:
    rmse, interval = network.evaluation.rmse, network.evaluation.rmse_interval
    low, high = (interval.low, interval.high) if interval else (rmse, rmse)
    row = {"name": network.name, "rmse": rmse, "low": low, "high": high, "text": f"{rmse:.4f}"}
    paint: dict[str, Any] = {"source": style.make_source([row]), "color": network.colour}
    plot.segment("low", "name", "high", "name", line_width=3, **paint)
    for end in ("low", "high"):
        plot.scatter(end, "name", marker="dash", angle=1.5708, size=14, line_width=3, **paint)
    _add_text(plot, paint["source"], "high")
    return plot.scatter("rmse", "name", marker=network.marker, size=11, **paint)


def _add_text(plot: figure, source: ColumnDataSource, after: str) -> None:
    plot.text(
        after,
        "name",
        "text",
        source=source,
        x_offset=12,
        text_baseline="middle",
        text_font=value(style.FONT),
        text_font_size="13px",
        text_color=style.INK,
    )


def _choose_range(evaluations: Sequence[Evaluation]) -> tuple[float, float]:
    """Return the range of x in which the figures beside the points fit, on a phone too."""
    ends = [*evaluations[0].baselines.values(), *(one.rmse for one in evaluations)]
    for interval in (one.rmse_interval for one in evaluations):
        ends += (interval.low, interval.high) if interval else ()
    span = max(ends) - min(ends) or 0.1
    return min(ends) - 0.06 * span, max(ends) + 0.34 * span


def draw_residuals(networks: Sequence[Network]) -> figure:
    """Draw how rating − predicted is spread over the test part, one line per network."""
    plot = style.make_canvas("rating − predicted", "share of test ratings")
    plot.yaxis.formatter = NumeralTickFormatter(format="0%")
    entries = []
    for network in networks:
        residuals = network.evaluation.residuals
        bins = zip(itertools.pairwise(residuals.edges), residuals.counts, strict=True)
        total = sum(residuals.counts)
        rows = [{"middle": (low + high) / 2, "share": n / total} for (low, high), n in bins]
        paint: dict[str, Any] = {"color": network.colour, "line_width": 2}
        source = style.make_source(rows)
        line = plot.step("middle", "share", source=source, mode="center", **paint)
        entries.append((network.name, [line]))
    style.add_legend(plot, entries)
    return plot


def draw_groups(
    networks: Sequence[Network], x_title: str, read: Callable[[Evaluation], tuple[Group, ...]]
) -> figure:
    """Draw the RMSE of each of the groups that `read` takes from an evaluation."""
    labels = [group.label for group in read(networks[0].evaluation)]
    plot = style.make_canvas(x_title, "RMSE", x_range=labels)
    entries = []
    for network in networks:
        groups = map(msgspec.structs.asdict, read(network.evaluation))
        source = style.make_source([{"network": network.name, **group} for group in groups])
        paint: dict[str, Any] = {"source": source, "color": network.colour}
        line = plot.line("label", "rmse", line_width=1.5, **paint)
        dots = plot.scatter("label", "rmse", marker=network.marker, size=9, **paint)
        tooltips = [("network", "@network"), (x_title, "@label"), ("RMSE", "@rmse{0.0000}")]
        style.add_hover(plot, [*tooltips, ("test ratings", "@n_ratings{0,0}")], [dots])
        entries.append((network.name, [line, dots]))
    style.add_legend(plot, entries)
    return plot
