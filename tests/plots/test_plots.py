from __future__ import annotations

from typing import Any

import msgspec
import pytest
from bokeh.models import LogAxis, Span

from mftasks.plots import data, scores, style, training
from mftasks.records import Histogram, Report
from tests.finished_run import NETWORKS

LOOK = style.Look(list(NETWORKS))


def compare(run: Report) -> Any:
    return training.draw_comparison(run.results, run.evaluations, LOOK)


def lines(plot: Any, dash: list[int]) -> list[Any]:
    return [
        one
        for one in plot.renderers
        if one.glyph.__class__.__name__ == "Line" and one.glyph.line_dash == dash
    ]


def test_validation_is_solid_and_training_dotted(run: Report) -> None:
    plot = compare(run)
    solid, dotted = lines(plot, []), lines(plot, [2, 4])
    assert [line.glyph.y for line in solid] == ["valid"] * len(NETWORKS)
    assert [line.glyph.y for line in dotted] == ["train"] * len(NETWORKS)
    history = run.results[0].history
    assert solid[0].data_source.data["valid"] == [epoch.valid_rmse for epoch in history]
    assert solid[0].data_source.data["seconds"] == [epoch.seconds for epoch in history]


def test_without_a_validation_part_only_training_is_drawn(runs: dict[str, Report]) -> None:
    plot = compare(runs["notebook"])
    assert lines(plot, []) == []
    assert len(lines(plot, [2, 4])) == len(NETWORKS)


def test_every_baseline_is_a_line_with_its_figure(run: Report) -> None:
    plot = compare(run)
    spans = {span.location for span in plot.select(Span)}
    assert spans == set(run.evaluations[0].baselines.values())


def test_a_legend_entry_hides_all_that_belongs_to_a_network(run: Report) -> None:
    plot = compare(run)
    entries = plot.legend[0].items
    assert [entry.label.value.split()[0] for entry in entries] == list(NETWORKS)
    linked = entries[0].renderers[0].js_property_callbacks["change:visible"]
    drawn = [entries[0].renderers[0], *(callback.args["other"] for callback in linked)]
    colours = {one.glyph.line_color for one in drawn if one.glyph.line_color != style.INK}
    assert len(drawn) == 6
    assert colours == {LOOK.colour(NETWORKS[0])}


def test_networks_of_unlike_speed_are_compared_on_a_log_scale(run: Report) -> None:
    slow = msgspec.structs.replace(
        run.results[1],
        history=tuple(
            msgspec.structs.replace(epoch, seconds=epoch.seconds * 1000)
            for epoch in run.results[1].history
        ),
    )
    alike = training.draw_comparison((run.results[0],) * 2, (run.evaluations[0],) * 2, LOOK)
    unlike = training.draw_comparison((run.results[0], slow), run.evaluations, LOOK)
    assert not isinstance(alike.xaxis[0], LogAxis)
    assert isinstance(unlike.xaxis[0], LogAxis)


def test_final_figures_are_ordered_best_on_top(run: Report) -> None:
    plot = scores.draw_final(run.evaluations, LOOK)
    figures = {one.network: one.rmse for one in run.evaluations} | run.evaluations[0].baselines
    assert list(plot.y_range.factors) == sorted(figures, key=lambda name: -figures[name])


def test_residuals_are_shares_of_the_test_part(run: Report) -> None:
    for line in scores.draw_residuals(run.evaluations, LOOK).renderers:
        assert sum(line.data_source.data["share"]) == pytest.approx(1)


@pytest.mark.parametrize("draw", [scores.draw_by_rating, scores.draw_by_activity])
def test_groups_keep_their_order(run: Report, draw: Any) -> None:
    groups = getattr(run.evaluations[0], draw.__name__.removeprefix("draw_"))
    plot = draw(run.evaluations, LOOK)
    assert list(plot.x_range.factors) == [group.label for group in groups]


def test_bins_of_activity_are_named_by_their_first_and_last_number() -> None:
    plot = data.draw_activity(Histogram(edges=(1, 2, 4, 2048), counts=(5, 6, 7)), "users")
    assert list(plot.x_range.factors) == ["1", "2 – 3", "4 – 2,047"]


def test_ratings_are_drawn_by_month(run: Report) -> None:
    (bars,) = data.draw_months(run.profile).renderers
    assert bars.data_source.data["month"] == list(run.profile.ratings_per_month)
    assert sum(bars.data_source.data["n"]) == run.profile.n_ratings


def test_many_networks_still_differ_in_colour_or_marker() -> None:
    names = [f"network-{n}" for n in range(6)]
    look = style.Look(names)
    assert len({(look.colour(name), look.marker(name)) for name in names}) == 6
