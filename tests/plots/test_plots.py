from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from bokeh.models import LogAxis, Span

from mftasks import networks
from mftasks.networks._layers import describe
from mftasks.plots import data, page, scores, style, training, words
from mftasks.records import Evaluation, Group, Histogram, Interval, Layer, Report, SplitConfig
from tests.finished_run import NETWORKS, evaluated_run, gather_report


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """Give the records of a run with a validation part, and of one without."""
    return {
        preset: gather_report(evaluated_run(tmp_path_factory.mktemp(preset), preset))
        for preset in ("default", "notebook")
    }


@pytest.fixture
def run(runs: dict[str, Report]) -> Report:
    return runs["default"]


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


def page_of(run: Report) -> str:
    return page.report(run).decode()


@pytest.mark.parametrize("name", networks.names())
def test_a_network_is_pictured_by_its_blocks_and_their_weights(name: str) -> None:
    network = networks.load(name)
    block = network.build(networks.Sizes(30, 40, 3.5), network.Params(), lazy=True)
    block.initialize()
    root = describe(name, block)
    users, items = root.layers
    assert [side.layers[0].detail for side in (users, items)] == ["30 → 64", "40 → 64"]
    assert root.n_parameters == users.n_parameters + items.n_parameters
    assert root.n_parameters == sum(leaf.n_parameters for leaf in leaves(root))


def leaves(layer: Layer) -> list[Layer]:
    return [leaf for part in layer.layers for leaf in leaves(part)] or [layer]


def test_the_blocks_of_a_residual_layer_stay_together() -> None:
    network = networks.load("resnet")
    block = network.build(networks.Sizes(30, 40, 3.5), network.Params(), lazy=True)
    kinds = [layer.kind for layer in describe("resnet", block).layers[0].layers]
    assert kinds == ["Embedding", "Residual", "Dropout", "Residual", "bias"]


def test_a_network_without_sides_is_pictured_too(run: Report) -> None:
    tower = Layer(name="tower", kind="Dense", detail="8 → 1", n_parameters=9)
    result = msgspec.structs.replace(
        run.results[0],
        formula="Any formula <i>",
        architecture=Layer(name="ncf", kind="Ncf", n_parameters=9, layers=(tower,)),
    )
    drawn = page_of(msgspec.structs.replace(run, results=(result, *run.results[1:])))
    assert "dense <small>8 → 1</small>" in drawn
    assert "Any formula &lt;i&gt;" in drawn


def test_a_run_of_before_networks_were_described_is_still_shown(run: Report) -> None:
    results = tuple(msgspec.structs.replace(one, architecture=None) for one in run.results)
    assert "Best network" in page_of(msgspec.structs.replace(run, results=results))


def gain(value: float, half: float = 0.01) -> Interval:
    return Interval(value=value, low=value - half, high=value + half)


def with_gains(run: Report, **gains: Interval) -> tuple[Evaluation, ...]:
    return tuple(msgspec.structs.replace(one, gain=gains[one.network]) for one in run.evaluations)


def test_the_summary_is_sober_about_small_gains(run: Report) -> None:
    def summary(value: float) -> str:
        evaluations = with_gains(run, linear=gain(value), mlp=gain(-0.5))
        return words.summary(evaluations[0], evaluations, "ml-100k")

    assert "is 0.0300 better (95\u00a0% interval 0.0200 – 0.0400)" in summary(0.03)
    assert "differs from it by 0.0050" in summary(0.005)
    assert "is 0.0300 worse" in summary(-0.03)


def test_a_network_that_was_not_chosen_is_named_if_only_it_is_clearly_better(run: Report) -> None:
    evaluations = with_gains(run, linear=gain(0.005), mlp=gain(0.03))
    said = words.summary(evaluations[0], evaluations, "ml-100k")
    assert said.endswith("clearly better is mlp.")


def test_a_run_that_no_network_wins_is_not_headed_by_a_best_network(run: Report) -> None:
    won = with_gains(run, linear=gain(0.03), mlp=gain(-0.03))
    lost = with_gains(run, linear=gain(0.005), mlp=gain(-0.03))
    assert words.headline(won[0], won).startswith("Best network: linear, RMSE ")
    assert words.headline(lost[0], lost).startswith("No network beats the baseline ")


def test_networks_are_listed_in_the_order_that_chose_the_best(run: Report) -> None:
    """Though the test part says otherwise, the network that validation chose comes first."""
    chosen, other = sorted(run.evaluations, key=lambda one: one.network != run.best)
    worse = msgspec.structs.replace(chosen, rmse=other.rmse + 1)
    shown = page_of(msgspec.structs.replace(run, evaluations=(other, worse)))
    rows = re.findall(r"</span>(\w+( \(chosen\))?)</th>", shown)
    assert [row[0] for row in rows] == [f"{chosen.network} (chosen)", other.network]
    assert "validation RMSE</th>" in shown


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SplitConfig(strategy="canonical", fold=3), "canonical fold 3"),
        (SplitConfig(strategy="hash", test_fraction=0.2), "20 % by hash of user and item"),
        (
            SplitConfig(strategy="temporal", test_from=datetime(1998, 4, 1, tzinfo=UTC)),
            "everything from 1 April 1998 on",
        ),
    ],
)
def test_a_split_is_put_into_words(run: Report, config: SplitConfig, said: str) -> None:
    assert words.split(msgspec.structs.replace(run.split, config=config)) == said


def test_warnings_head_the_report(run: Report) -> None:
    assert "Warning" not in page_of(run)
    split = msgspec.structs.replace(run.split, warnings=("98% <of> the test part",))
    evaluations = tuple(
        msgspec.structs.replace(one, rmse_interval=None, gain=None) for one in run.evaluations
    )
    doubtful = msgspec.structs.replace(run, split=split, evaluations=evaluations)
    drawn = page_of(doubtful)
    head = drawn[: drawn.index("The networks compared")]
    assert "<b>Warning</b> 98% &lt;of&gt; the test part." in head
    assert "too few users took part for intervals" in head


def test_known_and_new_pairs_are_shown_apart_with_their_number(run: Report) -> None:
    assert "Known and new users" not in page_of(run)
    groups = (
        Group(label="known", n_ratings=1_234, rmse=0.71),
        Group(label="new user", n_ratings=56, rmse=1.23),
    )
    evaluations = tuple(msgspec.structs.replace(one, by_novelty=groups) for one in run.evaluations)
    drawn = page_of(msgspec.structs.replace(run, evaluations=evaluations))
    assert '<th scope="row">known</th><td>1,234</td><td>0.7100</td><td>0.7100</td>' in drawn
    assert '<th scope="row">new user</th><td>56</td><td>1.2300</td>' in drawn


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
