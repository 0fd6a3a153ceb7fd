"""What the ratings look like: their values, how active users and items are, and when they came."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bokeh.models import ColumnDataSource, DatetimeTicker, FactorRange

from mftasks.plots import style

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from mftasks.records import Histogram, Profile

MONTH = timedelta(days=27)  # as wide as a month's bar


def draw_ratings(profile: Profile) -> figure:
    """Draw how often each rating was given."""
    counts = profile.rating_counts
    columns = {
        "x": list(counts),
        "n": list(counts.values()),
        "share": [n / profile.n_ratings for n in counts.values()],
    }
    plot = style.make_canvas(
        "rating", "ratings", height=260, x_range=FactorRange(factors=list(counts))
    )
    tooltips = [("rating", "@x"), ("ratings", "@n{0,0}"), ("share", "@share{0.0%}")]
    return _draw_bars(plot, columns, tooltips)


def draw_activity(histogram: Histogram, what: str) -> figure:
    """Draw how many users or items have how many ratings."""
    spans = [_name_bin(low, high) for low, high in itertools.pairwise(histogram.edges)]
    title = f"ratings of the {what.rstrip('s')}"
    plot = style.make_canvas(title, what, height=260, x_range=FactorRange(factors=spans))
    plot.xaxis.major_label_orientation = 0.6
    columns = {"x": spans, "n": list(histogram.counts)}
    return _draw_bars(plot, columns, [("ratings", "@x"), (what, "@n{0,0}")])


def _name_bin(low: float, high: float) -> str:
    """Name a bin of whole numbers by its first and last."""
    first, last = math.ceil(low), math.ceil(high) - 1
    return f"{first:,}" if last <= first else f"{first:,} – {last:,}"


def draw_months(profile: Profile) -> figure:
    """Draw how many ratings came in each month."""
    counts = profile.ratings_per_month
    starts = [datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC) for month in counts]
    columns = {
        "month": list(counts),
        "x": [start + MONTH / 2 for start in starts],
        "n": list(counts.values()),
    }
    plot = style.make_canvas("", "ratings a month", height=260, x_axis_type="datetime")
    plot.xaxis.ticker = DatetimeTicker(desired_num_ticks=4)
    return _draw_bars(plot, columns, [("month", "@month"), ("ratings", "@n{0,0}")], MONTH)


def _draw_bars(
    plot: figure, columns: dict[str, Any], tooltips: list[tuple[str, str]], width: Any = 0.8
) -> figure:
    """Draw a bar of height `n` at each `x` of the columns."""
    source = ColumnDataSource(columns)
    bars = plot.vbar("x", top="n", source=source, width=width, color=style.COLOURS[0])
    style.add_hover(plot, tooltips, [bars])
    plot.y_range.start = 0  # type: ignore[attr-defined]
    plot.yaxis.formatter.use_scientific = False  # type: ignore[attr-defined]
    plot.xgrid.grid_line_color = None
    return plot
