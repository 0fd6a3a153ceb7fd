"""The pages of a run: report.html, which has everything, and comparison.html, which has the race.

A page is one file that needs no network: style, script, plots and Bokeh itself are inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mftasks.plots import data, scores, style, training, words
from mftasks.reading.describing import describe, describe_columns

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from mftasks.records import Evaluation, Layout, Report, TrainResult


class Row(NamedTuple):
    """What a page shows of one network."""

    network: str
    colour: str
    result: TrainResult
    evaluation: Evaluation
    valid_rmse: float | None
    n_bytes: int
    settings: dict[str, str]


def render_report(run: Report) -> bytes:
    """Return report.html: the answer first, then how it came about, the networks and the data."""
    look = _make_look(run)
    plots = {
        **_compare(run, look),
        "residuals": scores.draw_residuals(run.evaluations, look),
        "by_rating": scores.draw_by_rating(run.evaluations, look),
        "by_activity": scores.draw_by_activity(run.evaluations, look),
        "ratings": data.draw_ratings(run.profile),
        "users": data.draw_activity(run.profile.ratings_per_user, "users"),
        "items": data.draw_activity(run.profile.ratings_per_item, "items"),
    }
    if run.profile.ratings_per_month:
        plots["months"] = data.draw_months(run.profile)
    return _render("report.html", run, look, plots)


def render_comparison(run: Report) -> bytes:
    """Return comparison.html: RMSE against training time, final RMSE, and every epoch's figures."""
    look = _make_look(run)
    return _render("comparison.html", run, look, _compare(run, look))


def _make_look(run: Report) -> style.Look:
    return style.Look([result.config.network for result in run.results])


def _compare(run: Report, look: style.Look) -> dict[str, figure]:
    return {
        "training": training.draw_comparison(run.results, run.evaluations, look),
        "final": scores.draw_final(run.evaluations, look),
    }


def _render(template: str, run: Report, look: style.Look, plots: dict[str, figure]) -> bytes:
    script, parts = components({**plots})
    validated = all(result.history[0].valid_rmse is not None for result in run.results)
    rows = sorted(_make_rows(run, look), key=_rank)
    best = next(row for row in rows if row.network == run.best)
    page = _load_templates().get_template(template)
    text = page.render(
        run=run,
        rows=rows,
        best=best,
        headline=words.write_headline(best.evaluation, run.evaluations),
        summary=words.write_summary(best.evaluation, run.evaluations, run.profile.dataset.name),
        in_words=", ".join(f"{row.network} {row.evaluation.rmse:.4f}" for row in rows),
        split_in_words=words.describe_split(run.split),
        warnings=words.list_warnings(run),
        read_as=_describe_layout(run.profile.layout),
        dropped=words.describe_dropped(run.profile.dropped),
        baselines=dict(sorted(best.evaluation.baselines.items(), key=lambda one: one[1])),
        chosen=words.explain_choice(best.evaluation, validated),
        validated=validated,
        longest=max(result.seconds for result in run.results),
        cpu=sum(result.cpu_seconds for result in run.results),
        plots={name: Markup(part) for name, part in parts.items()},
        library=Markup(Resources(mode="inline", components=["bokeh"]).render_js()),
        script=Markup(script),
        style=style,
    )
    return text.encode()


def _describe_layout(layout: Layout | None) -> str:
    return f", read as {describe(layout)}: {describe_columns(layout)}" if layout else ""


def _make_rows(run: Report, look: style.Look) -> list[Row]:
    scored = {evaluation.network: evaluation for evaluation in run.evaluations}
    return [
        Row(
            network=result.config.network,
            colour=f"var(--colour-{look.turn(result.config.network)})",
            result=result,
            evaluation=scored[result.config.network],
            valid_rmse=result.kept.valid_rmse,
            n_bytes=sum(blob.n_bytes for blob in result.bundle.files.values()),
            settings=words.list_settings(result.config),
        )
        for result in run.results
    ]


def _rank(row: Row) -> float:
    """Return the figure that the best network was chosen by."""
    return row.evaluation.rmse if row.valid_rmse is None else row.valid_rmse


def _load_templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS)
    return environment
