from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from bokeh.models import LogAxis, Span

from mftasks import networks
from mftasks.mx import mx
from mftasks.plots import data, scores, style, training, words
from mftasks.plots.diagram import diagram
from mftasks.plots.graph import Graph
from mftasks.records import Evaluation, Histogram, Interval, Report, SplitConfig
from mftasks.store.workspace import run_key
from tests.finished_run import NETWORKS, RUN, reported_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """Give the records of a run with a validation part, and of one without."""
    return {
        preset: reported_run(tmp_path_factory.mktemp(preset), preset).read(
            run_key(RUN, "report.json"), Report
        )
        for preset in ("default", "notebook")
    }


@pytest.fixture
def run(runs: dict[str, Report]) -> Report:
    return runs["default"]


@pytest.fixture
def best(run: Report) -> Evaluation:
    return next(one for one in run.evaluations if one.network == run.best)


LOOK = style.Look(list(NETWORKS))


def compared(run: Report) -> Any:
    return training.comparison(run.results, run.evaluations, LOOK)


def lines(plot: Any, dash: list[int]) -> list[Any]:
    return [
        one
        for one in plot.renderers
        if one.glyph.__class__.__name__ == "Line" and one.glyph.line_dash == dash
    ]


def test_validation_is_solid_and_training_dotted(run: Report) -> None:
    plot = compared(run)
    solid, dotted = lines(plot, []), lines(plot, [2, 4])
    assert [line.glyph.y for line in solid] == ["valid"] * len(NETWORKS)
    assert [line.glyph.y for line in dotted] == ["train"] * len(NETWORKS)
    history = run.results[0].history
    assert solid[0].data_source.data["valid"] == [epoch.valid_rmse for epoch in history]
    assert solid[0].data_source.data["seconds"] == [epoch.seconds for epoch in history]


def test_without_a_validation_part_only_training_is_drawn(runs: dict[str, Report]) -> None:
    plot = compared(runs["notebook"])
    assert lines(plot, []) == []
    assert len(lines(plot, [2, 4])) == len(NETWORKS)


def test_every_baseline_is_a_line_with_its_figure(run: Report) -> None:
    plot = compared(run)
    spans = {span.location for span in plot.select(Span)}
    assert spans == set(run.evaluations[0].baselines.values())


def test_a_legend_entry_hides_all_that_belongs_to_a_network(run: Report) -> None:
    plot = compared(run)
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
    alike = training.comparison((run.results[0],) * 2, (run.evaluations[0],) * 2, LOOK)
    unlike = training.comparison((run.results[0], slow), run.evaluations, LOOK)
    assert not isinstance(alike.xaxis[0], LogAxis)
    assert isinstance(unlike.xaxis[0], LogAxis)


def test_final_figures_are_ordered_best_on_top(run: Report) -> None:
    plot = scores.final(run.evaluations, LOOK)
    figures = {one.network: one.rmse for one in run.evaluations} | run.evaluations[0].baselines
    assert list(plot.y_range.factors) == sorted(figures, key=lambda name: -figures[name])


def test_residuals_are_shares_of_the_test_part(run: Report) -> None:
    for line in scores.residuals(run.evaluations, LOOK).renderers:
        assert sum(line.data_source.data["share"]) == pytest.approx(1)


@pytest.mark.parametrize("draw", [scores.by_rating, scores.by_activity])
def test_groups_keep_their_order(run: Report, draw: Any) -> None:
    groups = getattr(run.evaluations[0], draw.__name__)
    plot = draw(run.evaluations, LOOK)
    assert list(plot.x_range.factors) == [group.label for group in groups]


def test_bins_of_activity_are_named_by_their_first_and_last_number() -> None:
    plot = data.activity(Histogram(edges=(1, 2, 4, 2048), counts=(5, 6, 7)), "users")
    assert list(plot.x_range.factors) == ["1", "2 – 3", "4 – 2,047"]


def test_ratings_are_drawn_by_month(run: Report) -> None:
    (bars,) = data.months(run.profile).renderers
    assert bars.data_source.data["month"] == list(run.profile.ratings_per_month)
    assert sum(bars.data_source.data["n"]) == run.profile.n_ratings


def symbol(build: Any) -> str:
    return str(build(mx.sym, mx.sym.var("users"), mx.sym.var("items")).tojson())


def titles(graph: Graph) -> list[str]:
    return [f"{box.title} {box.detail}".strip() for box in graph.boxes.values()]


def test_a_sum_of_products_is_an_inner_product() -> None:
    def build(ops: Any, users: Any, items: Any) -> Any:
        sides = (
            ops.Embedding(side, ops.var(name), input_dim=900, output_dim=64)
            for side, name in ((users, "p"), (items, "q"))
        )
        return ops.sum(next(sides) * next(sides), axis=1) + 3.5

    assert titles(Graph(symbol(build))) == [
        "user",
        "embedding 900 × 64",
        "item",
        "embedding 900 × 64",
        "inner product plus 3.50",
        "predicted rating",
    ]


def test_an_unknown_operation_is_drawn_by_its_name() -> None:
    drawn = diagram("ncf", symbol(lambda ops, users, items: ops.broadcast_maximum(users, items)))
    assert "broadcast maximum" in drawn


def test_a_value_that_others_use_too_keeps_its_box() -> None:
    def build(ops: Any, users: Any, items: Any) -> Any:
        dense = ops.FullyConnected(users, ops.var("w", shape=(8, 4)), ops.var("b"), num_hidden=8)
        return dense + ops.Activation(dense, act_type="relu") + items

    assert titles(Graph(symbol(build))) == [
        "user",
        "dense 4 → 8",
        "relu",
        "item",
        "sum",
        "predicted rating",
    ]


@pytest.mark.parametrize("preset", ["default", "notebook"])
@pytest.mark.parametrize("name", networks.names())
def test_boxes_of_a_drawing_do_not_overlap(name: str, preset: str) -> None:
    network = networks.load(name)
    params = msgspec.convert(network.PRESETS[preset].params, network.Params)
    block = network.build(networks.Sizes(9, 9, 3.5), params, lazy=True)
    drawn = diagram(name, block(mx.sym.var("users"), mx.sym.var("items"))[0].tojson())
    found = re.findall(r'<rect[^>]* x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)"', drawn)
    boxes = [tuple(map(float, box)) for box in found]
    for x, y, width in boxes:
        beside = [box for box in boxes if box[1] == y and box[0] > x]
        assert all(box[0] >= x + width for box in beside)


def test_the_summary_is_sober_about_small_gains(best: Evaluation) -> None:
    def summary(low: float, high: float) -> str:
        gain = Interval(value=(low + high) / 2, low=low, high=high)
        return words.summary(msgspec.structs.replace(best, gain=gain), "ml-100k")

    assert "is 0.0300 better (95\u00a0% interval 0.0200 to 0.0400)" in summary(0.02, 0.04)
    assert "no network is clearly better" in summary(-0.01, 0.04)
    assert "is 0.0300 worse" in summary(-0.04, -0.02)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SplitConfig(strategy="canonical", fold=3), "canonical fold 3"),
        (SplitConfig(strategy="hash", test_fraction=0.2), "20 % by hash of user and item"),
        (
            SplitConfig(strategy="temporal", test_from=datetime(1998, 4, 1, tzinfo=UTC)),
            "everything from 01 April 1998 on",
        ),
    ],
)
def test_a_split_is_put_into_words(config: SplitConfig, said: str) -> None:
    assert words.split(config) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (59.96, "1 min 0 s"), (75, "1 min 15 s"), (7320, "2 h 2 min")],
)
def test_durations_take_the_unit_that_fits(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("n_bytes", "said"), [(12, "12 B"), (859_000, "859 kB"), (41_300_000, "41.3 MB")]
)
def test_sizes_take_the_unit_that_fits(n_bytes: int, said: str) -> None:
    assert words.size(n_bytes) == said


def test_many_networks_still_differ_in_colour_or_marker() -> None:
    names = [f"network-{n}" for n in range(6)]
    look = style.Look(names)
    assert len({(look.colour(name), look.marker(name)) for name in names}) == 6
