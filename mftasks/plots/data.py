"""What the ratings look like: their values, how active users and items are, and when they came."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bokeh.models import ColumnDataSource, DatetimeTicker, FactorRange

from mftasks.plots import style

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from mftasks.records import Histogram, Profile

BAR = style.COLOURS[0]


def ratings(profile: Profile) -> figure:
    """Draw how often each rating was given."""
    counts = profile.rating_counts
    plot = style.canvas("rating", "ratings", height=260, x_range=FactorRange(factors=list(counts)))
    source = ColumnDataSource(
        {
            "rating": list(counts),
            "n": list(counts.values()),
            "share": [n / max(profile.n_ratings, 1) for n in counts.values()],
        }
    )
    bars = plot.vbar("rating", top="n", source=source, width=0.8, color=BAR)
    tooltips = [("rating", "@rating"), ("ratings", "@n{0,0}"), ("share", "@share{0.0%}")]
    style.hover(plot, tooltips, [bars])
    return _counting(plot)


def activity(histogram: Histogram, what: str) -> figure:
    """Draw how many users or items have how many ratings."""
    spans = [_span(low, high) for low, high in itertools.pairwise(histogram.edges)]
    plot = style.canvas(
        f"ratings of the {what.rstrip('s')}", what, height=260, x_range=FactorRange(factors=spans)
    )
    plot.xaxis.major_label_orientation = 0.6
    source = ColumnDataSource({"span": spans, "n": list(histogram.counts)})
    bars = plot.vbar("span", top="n", source=source, width=0.8, color=BAR)
    style.hover(plot, [("ratings", "@span"), (what, "@n{0,0}")], [bars])
    return _counting(plot)


def _span(low: float, high: float) -> str:
    """Name a bin of whole numbers by its first and last."""
    first, last = math.ceil(low), math.ceil(high) - 1
    return f"{first:,}" if last <= first else f"{first:,} – {last:,}"


def months(profile: Profile) -> figure:
    """Draw how many ratings came in each month."""
    starts = [
        datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC) for month in profile.ratings_per_month
    ]
    plot = style.canvas("", "ratings a month", height=260, x_axis_type="datetime")
    plot.xaxis.ticker = DatetimeTicker(desired_num_ticks=4)
    source = ColumnDataSource(
        {
            "month": list(profile.ratings_per_month),
            "start": starts,
            "end": [start + timedelta(days=27) for start in starts],
            "n": list(profile.ratings_per_month.values()),
        }
    )
    bars = plot.quad(left="start", right="end", bottom=0, top="n", source=source, color=BAR)
    style.hover(plot, [("month", "@month"), ("ratings", "@n{0,0}")], [bars])
    return _counting(plot)


def _counting(plot: figure) -> figure:
    plot.y_range.start = 0  # type: ignore[attr-defined]
    plot.yaxis.formatter.use_scientific = False  # type: ignore[attr-defined]
    plot.xgrid.grid_line_color = None
    return plot
