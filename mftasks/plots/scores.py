"""How good the networks are in the end, and where each of them errs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, FactorRange, NumeralTickFormatter

from mftasks.plots import style

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from mftasks.plots.style import Look
    from mftasks.records import Evaluation, Group


def draw_final(evaluations: Sequence[Evaluation], look: Look) -> figure:
    """Draw the test RMSE of each network with its 95 % interval, and that of the baselines."""
    baselines = evaluations[0].baselines
    scores = {evaluation.network: evaluation.rmse for evaluation in evaluations}
    names = sorted({**scores, **baselines}, key=lambda name: -{**scores, **baselines}[name])
    plot = style.make_canvas(
        "test RMSE",
        "",
        height=70 + 44 * len(names),
        x_range=_choose_range(evaluations),
        y_range=FactorRange(factors=names),
    )
    plot.ygrid.grid_line_color = None
    drawn = [_draw_interval(plot, evaluation, look) for evaluation in evaluations]
    columns = {
        "name": list(baselines),
        "rmse": list(baselines.values()),
        "text": [f"{rmse:.4f}" for rmse in baselines.values()],
    }
    guesses = ColumnDataSource(columns)
    hollow: dict[str, Any] = {"marker": "diamond", "size": 11, "fill_alpha": 0, "color": style.INK}
    drawn.append(plot.scatter("rmse", "name", source=guesses, **hollow))
    _add_text(plot, guesses, "rmse")
    style.add_hover(plot, [("", "@name"), ("test RMSE", "@rmse{0.0000}")], drawn)
    return plot


def _draw_interval(plot: figure, evaluation: Evaluation, look: Look) -> Any:
    interval, colour = evaluation.rmse_interval, look.colour(evaluation.network)
    low, high = (interval.low, interval.high) if interval else (evaluation.rmse, evaluation.rmse)
    columns = {
        "name": [evaluation.network],
        "rmse": [evaluation.rmse],
        "low": [low],
        "high": [high],
        "text": [f"{evaluation.rmse:.4f}"],
    }
    paint: dict[str, Any] = {"source": ColumnDataSource(columns), "color": colour}
    plot.segment("low", "name", "high", "name", line_width=3, **paint)
    for end in ("low", "high"):
        plot.scatter(end, "name", marker="dash", angle=1.5708, size=14, line_width=3, **paint)
    _add_text(plot, paint["source"], "high")
    return plot.scatter("rmse", "name", marker=look.marker(evaluation.network), size=11, **paint)


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
    ends = [one.rmse for one in evaluations]
    for interval in (one.rmse_interval for one in evaluations):
        ends += (interval.low, interval.high) if interval else ()
    ends += evaluations[0].baselines.values()
    span = max(ends) - min(ends) or 0.1
    return min(ends) - 0.06 * span, max(ends) + 0.34 * span


def draw_residuals(evaluations: Sequence[Evaluation], look: Look) -> figure:
    """Draw how rating − predicted is spread over the test part, one line per network."""
    plot = style.make_canvas("rating − predicted", "share of test ratings")
    plot.yaxis.formatter = NumeralTickFormatter(format="0%")
    entries = []
    for evaluation in evaluations:
        counts, edges = evaluation.residuals.counts, evaluation.residuals.edges
        columns = {
            "middle": [(low + high) / 2 for low, high in itertools.pairwise(edges)],
            "share": [count / sum(counts) for count in counts],
        }
        paint: dict[str, Any] = {"color": look.colour(evaluation.network), "line_width": 2}
        source = ColumnDataSource(columns)
        line = plot.step("middle", "share", source=source, mode="center", **paint)
        entries.append((evaluation.network, [line]))
    style.add_legend(plot, entries)
    return plot


def draw_by_rating(evaluations: Sequence[Evaluation], look: Look) -> figure:
    """Draw the RMSE for each value of the rating."""
    groups = {evaluation.network: evaluation.by_rating for evaluation in evaluations}
    return _draw_groups("the rating", groups, look)


def draw_by_activity(evaluations: Sequence[Evaluation], look: Look) -> figure:
    """Draw the RMSE by how many ratings of the user training has seen."""
    groups = {evaluation.network: evaluation.by_activity for evaluation in evaluations}
    return _draw_groups("ratings of the user in the train part", groups, look)


def _draw_groups(x_title: str, groups: dict[str, tuple[Group, ...]], look: Look) -> figure:
    labels = [group.label for group in next(iter(groups.values()))]
    plot = style.make_canvas(x_title, "RMSE", x_range=FactorRange(factors=labels))
    entries = []
    for network, rows in groups.items():
        columns = {
            "network": [network] * len(rows),
            "label": [row.label for row in rows],
            "rmse": [row.rmse for row in rows],
            "n": [row.n_ratings for row in rows],
        }
        paint: dict[str, Any] = {
            "source": ColumnDataSource(columns),
            "color": look.colour(network),
        }
        line = plot.line("label", "rmse", line_width=1.5, **paint)
        dots = plot.scatter("label", "rmse", marker=look.marker(network), size=9, **paint)
        tooltips = [("network", "@network"), (x_title, "@label"), ("RMSE", "@rmse{0.0000}")]
        style.add_hover(plot, [*tooltips, ("test ratings", "@n{0,0}")], [dots])
        entries.append((network, [line, dots]))
    style.add_legend(plot, entries)
    return plot
