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

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from mftasks.records import Evaluation, Report, TrainResult


class Row(NamedTuple):
    """What a page shows of one network."""

    network: str
    colour: str
    result: TrainResult
    evaluation: Evaluation
    valid_rmse: float | None
    n_bytes: int
    settings: dict[str, str]


def report(run: Report) -> bytes:
    """Return report.html: the answer first, then how it came about, the networks and the data."""
    look = _look(run)
    plots = {
        **_compare(run, look),
        "residuals": scores.residuals(run.evaluations, look),
        "by_rating": scores.by_rating(run.evaluations, look),
        "by_activity": scores.by_activity(run.evaluations, look),
        "ratings": data.ratings(run.profile),
        "users": data.activity(run.profile.ratings_per_user, "users"),
        "items": data.activity(run.profile.ratings_per_item, "items"),
    }
    if run.profile.ratings_per_month:
        plots["months"] = data.months(run.profile)
    return _page("report.html", run, look, plots)


def comparison(run: Report) -> bytes:
    """Return comparison.html: RMSE against training time, final RMSE, and every epoch's figures."""
    look = _look(run)
    return _page("comparison.html", run, look, _compare(run, look))


def _look(run: Report) -> style.Look:
    return style.Look([result.config.network for result in run.results])


def _compare(run: Report, look: style.Look) -> dict[str, figure]:
    return {
        "training": training.comparison(run.results, run.evaluations, look),
        "final": scores.final(run.evaluations, look),
    }


def _page(template: str, run: Report, look: style.Look, plots: dict[str, figure]) -> bytes:
    script, parts = components({**plots})
    validated = all(result.history[0].valid_rmse is not None for result in run.results)
    rows = sorted(_rows(run, look), key=_rank)
    best = next(row for row in rows if row.network == run.best)
    page = _environment().get_template(template)
    text = page.render(
        run=run,
        rows=rows,
        best=best,
        headline=words.headline(best.evaluation, run.evaluations),
        summary=words.summary(best.evaluation, run.evaluations, run.profile.dataset.name),
        in_words=", ".join(f"{row.network} {row.evaluation.rmse:.4f}" for row in rows),
        split_in_words=words.split(run.split),
        warnings=words.warnings(run),
        baselines=dict(sorted(best.evaluation.baselines.items(), key=lambda one: one[1])),
        chosen=words.chosen(best.evaluation, validated),
        validated=validated,
        longest=max(result.seconds for result in run.results),
        cpu=sum(result.cpu_seconds for result in run.results),
        plots={name: Markup(part) for name, part in parts.items()},
        library=Markup(Resources(mode="inline", components=["bokeh"]).render_js()),
        script=Markup(script),
        style=style,
    )
    return text.encode()


def _rows(run: Report, look: style.Look) -> list[Row]:
    scored = {evaluation.network: evaluation for evaluation in run.evaluations}
    return [
        Row(
            network=result.config.network,
            colour=f"var(--colour-{look.turn(result.config.network)})",
            result=result,
            evaluation=scored[result.config.network],
            valid_rmse=result.kept.valid_rmse,
            n_bytes=sum(blob.n_bytes for blob in result.bundle.files.values()),
            settings=words.settings(result.config),
        )
        for result in run.results
    ]


def _rank(row: Row) -> float:
    """Return the figure that the best network was chosen by."""
    return row.evaluation.rmse if row.valid_rmse is None else row.valid_rmse


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS)
    return environment
