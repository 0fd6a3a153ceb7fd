"""How every picture looks: colours that the colour-blind can distinguish, sizes, and tools.

Pictures are drawn for a light page; on a dark one page.js repaints all that has one of these colours.
"""

from __future__ import annotations

from typing import Any

from bokeh.models import HoverTool
from bokeh.models.annotations.legends import Legend, LegendItem
from bokeh.plotting import figure

# Okabe and Ito, "Color universal design" (2008), without the two that fade on white or black.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
COLOURS_ON_BLACK = ("#4aa3df", "#f08a3c", "#35c79b", "#e09bc2", "#f2b93b", "#9bd8fa")
MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "hex")
INK = "#3b4148"
FAINT = "#d5d9de"
PAPER = "#ffffff"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"


class Look:
    """The colour and the marker of each network, the same in every picture of a run."""

    def __init__(self, networks: list[str]) -> None:
        self._turns = {network: turn for turn, network in enumerate(networks)}

    def turn(self, network: str) -> int:
        return self._turns[network] % len(COLOURS)

    def colour(self, network: str) -> str:
        return COLOURS[self.turn(network)]

    def marker(self, network: str) -> Any:
        return MARKERS[self.turn(network)]


def make_canvas(x_title: str, y_title: str, *, height: int = 320, **options: Any) -> figure:
    """Make an empty figure as wide as the page; dragging and wheel stay the page's own at first."""
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_label=x_title,
        y_axis_label=y_title,
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag=None,
        active_scroll=None,
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_color=None,
        min_border_left=52,
        **options,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.axis.axis_label_text_font = plot.axis.major_label_text_font = FONT
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "13px"
    plot.axis.axis_label_text_color = plot.axis.major_label_text_color = INK
    plot.axis.axis_line_color = plot.axis.major_tick_line_color = FAINT
    plot.axis.minor_tick_line_color = None
    plot.grid.grid_line_color = FAINT
    plot.grid.grid_line_alpha = 0.6
    return plot


def add_hover(plot: figure, tooltips: list[tuple[str, str]], renderers: list[Any]) -> None:
    """Show `tooltips` for the nearest point of `renderers`."""
    plot.add_tools(HoverTool(tooltips=tooltips, renderers=renderers))


def add_legend(plot: figure, entries: list[tuple[str, list[Any]]]) -> None:
    """Put a legend above the plot; a click on an entry hides or shows all that belongs to it.

    An entry shows how the first of its renderers looks.
    """
    for _, (first, *others) in entries:
        for other in others:
            first.js_link("visible", other, "visible")
    plot.add_layout(
        Legend(
            items=[LegendItem(label=label, renderers=drawn[:1]) for label, drawn in entries],
            click_policy="hide",
            orientation="horizontal",
            ncols="auto",
            location="top_left",
            label_text_font=FONT,
            label_text_font_size="13px",
            label_text_color=INK,
            background_fill_alpha=0,
            border_line_color=None,
            inactive_fill_color=PAPER,
            inactive_fill_alpha=0.7,
            padding=0,  # type: ignore[arg-type]  # mistyped in Bokeh
            margin=4,
            spacing=8,
        ),
        "above",
    )
